with landed as (
    select * from {{ source('landing', 'events') }}
),

-- Of a row in two deliveries, what was said later; else what was delivered later.
newest as (
    select *
    from landed
    qualify row_number() over (partition by event_id order by occurred_at desc, filename desc) = 1
),

final as (
    select
        event_id,
        customer_id,
        type,
        channel,
        category,
        action,
        treatment,
        decision_id,
        slot,
        session_id,
        name,
        value,
        occurred_at,
        received_at,
        source
    from newest
)

select * from final
