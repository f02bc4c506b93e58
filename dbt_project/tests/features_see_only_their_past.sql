-- Recomputes recency and spend from single transactions and their exact times, for three midnights.
with midnights as (
    select as_of
    from {{ ref('int_as_of') }}
    qualify row_number() over (order by as_of desc) in (1, 14, 40)
),

expected as (
    select
        spine.customer_id,
        spine.as_of,
        cast(coalesce(sum(transactions.sales_value), 0) as double) as spend_91d,
        max(transactions.occurred_at) as last_occurred_at
    from {{ ref('int_customer_as_of') }} as spine
    inner join midnights on spine.as_of = midnights.as_of
    left join {{ ref('stg_transactions') }} as transactions
        on
            spine.customer_id = transactions.customer_id
            and spine.as_of > transactions.occurred_at
            and spine.as_of <= transactions.occurred_at + interval '91 days'
    group by spine.customer_id, spine.as_of
)

select
    expected.*,
    features.recency_days,
    features.spend_91d as found
from expected
inner join {{ ref('customer_rfm') }} as features
    on
        expected.customer_id = features.customer_id
        and expected.as_of = features.as_of
where
    abs(expected.spend_91d - features.spend_91d) > 0.001
    or expected.as_of - expected.last_occurred_at > features.recency_days * interval '1 day'
    or expected.as_of - expected.last_occurred_at < (features.recency_days - 1) * interval '1 day'
