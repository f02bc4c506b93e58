with landed as (
    select * from {{ source('landing', 'decisions') }}
),

renamed as (
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
        priority,
        mode,
        tier,
        learning,
        policy_hash,
        model_set_id,
        record,
        source
    from landed
),

final as (
    select *
    from renamed
    qualify row_number() over (partition by decision_id, placement, slot order by occurred_at desc) = 1
)

select * from final
