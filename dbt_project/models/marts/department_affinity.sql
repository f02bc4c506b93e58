with spine as (
    select * from {{ ref('int_customer_as_of') }}
),

windows as (
    select
        spine.customer_id,
        spine.as_of,
        {%- for department in var('departments') %}
        {{ window_sum('history.department_spend__' ~ department, 91) }} as department_spend_91d__{{ department }},
        {%- endfor %}
        {{ window_sum('history.spend', 91) }} as spend_91d
    from spine
    left join {{ ref('int_customer_days') }} as history
        on
            spine.customer_id = history.customer_id
            and spine.as_of_day > history.day
            and spine.as_of_day <= history.day + 91
    group by spine.customer_id, spine.as_of
),

final as (
    select
        customer_id,
        {%- for department in var('departments') %}
        cast({{ share('department_spend_91d__' ~ department, 'spend_91d') }} as double)
            as department_share_91d__{{ department }},
        {%- endfor %}
        as_of
    from windows
)

select * from final
