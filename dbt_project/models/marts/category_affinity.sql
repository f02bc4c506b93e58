with spine as (
    select * from {{ ref('int_customer_as_of') }}
),

final as (
    select
        spine.customer_id,
        {%- for action in var('actions') %}
        cast({{ window_sum('history.category_spend__' ~ action, 182) }} as double)
            as category_spend_182d__{{ action }},
        {%- endfor %}
        spine.as_of
    from spine
    left join {{ ref('int_customer_days') }} as history
        on
            spine.customer_id = history.customer_id
            and spine.as_of_day > history.day
            and spine.as_of_day <= history.day + 182
    group by spine.customer_id, spine.as_of
)

select * from final
