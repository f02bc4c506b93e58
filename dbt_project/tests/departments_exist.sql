-- A department that no product has is a column of zeros: a typing error in `vars`.
{{ config(severity='warn') }}
select listed.department
from (
    values
    {%- for department in var('departments') %}
    ('{{ department }}'){{ ',' if not loop.last }}
    {%- endfor %}
) as listed (department)
where listed.department not in (select department_id from {{ ref('stg_products') }})
