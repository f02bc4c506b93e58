-- A department that no product has is a column of zeros: a typing error in `vars`.
{{ config(severity='warn') }}
select listed.department
from (
    values
    {%- for department in var('departments') %}
    ('{{ department }}'){{ ',' if not loop.last }}
    {%- endfor %}
) as listed (department)
left join {{ ref('stg_products') }} as products on listed.department = products.department_id
where products.department_id is null
