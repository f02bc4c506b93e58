-- Every feature mart has one row per customer and midnight of the spine: a join on both loses no one.
{% for mart in ['customer_profile', 'customer_rfm', 'department_affinity', 'category_affinity', 'contact_response'] %}
select
    spine.customer_id,
    spine.as_of,
    '{{ mart }}' as mart
from {{ ref('int_customer_as_of') }} as spine
full outer join {{ ref(mart) }} as features
    on
        spine.customer_id = features.customer_id
        and spine.as_of = features.as_of
where spine.customer_id is null or features.customer_id is null
{{ 'union all' if not loop.last }}
{% endfor %}
