with landed as (
    select * from {{ source('landing', 'outcomes') }}
),

renamed as (
    select
        outcome_id,
        customer_id,
        decision_id,
        contact_id,
        action,
        kind,
        {{ money('value') }} as value,
        currency,
        occurred_at,
        source
    from landed
),

final as (
    select *
    from renamed
    qualify row_number() over (partition by outcome_id order by occurred_at desc) = 1
)

select * from final
