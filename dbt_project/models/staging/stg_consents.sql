with landed as (
    select * from {{ source('landing', 'consents') }}
),

renamed as (
    select
        consent_id,
        customer_id,
        purpose,
        status,
        regime,
        occurred_at,
        source
    from landed
),

final as (
    select *
    from renamed
    qualify row_number() over (partition by consent_id order by occurred_at desc) = 1
)

select * from final
