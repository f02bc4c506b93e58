with landed as (
    select * from {{ source('landing', 'events') }}
),

renamed as (
    select
        event_id,
        customer_id,
        type,
        channel,
        category,
        action,
        decision_id,
        session_id,
        occurred_at,
        received_at,
        source
    from landed
),

final as (
    select *
    from renamed
    qualify row_number() over (partition by event_id order by occurred_at desc) = 1
)

select * from final
