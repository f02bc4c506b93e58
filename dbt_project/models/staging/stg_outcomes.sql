with landed as (
    select * from {{ source('landing', 'outcomes') }}
),

-- Of a row in two deliveries, what was said later; else what was delivered later.
newest as (
    select *
    from landed
    qualify row_number() over (partition by outcome_id order by occurred_at desc, filename desc) = 1
),

final as (
    select
        outcome_id,
        customer_id,
        decision_id,
        slot,
        contact_id,
        action,
        treatment,
        kind,
        {{ money('value') }} as value,
        currency,
        occurred_at,
        received_at,
        source
    from newest
)

select * from final
