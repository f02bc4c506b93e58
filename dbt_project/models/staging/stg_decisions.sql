with landed as (
    select * from {{ source('landing', 'decisions') }}
),

-- Of a row in two deliveries, what was said later; else what was delivered later.
newest as (
    select *
    from landed
    qualify row_number() over (partition by decision_id, placement, slot order by occurred_at desc, filename desc) = 1
),

final as (
    select
        decision_id,
        placement,
        slot,
        customer_id,
        request_id,
        occurred_at,
        channel,
        action,
        treatment,
        probability,
        p,
        value,
        cost,
        currency,
        priority,
        mode,
        tier,
        learning,
        policy_hash,
        model_set_id,
        record,
        source
    from newest
)

select * from final
