-- Every feature mart has one row per customer and midnight of the spine: a join on both loses no one.
{% for mart in ['customer_profile', 'customer_rfm', 'department_affinity', 'category_affinity', 'contact_response'] -%}
{{ 'union all' if not loop.first }}
select
    '{{ mart }}' as mart,
    customer_id,
    as_of
from {{ ref('int_customer_as_of') }}
where (customer_id, as_of) not in (select (customer_id, as_of) from {{ ref(mart) }})
{% endfor %}
