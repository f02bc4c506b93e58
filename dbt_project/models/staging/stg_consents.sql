with landed as (
    select * from {{ source('landing', 'consents') }}
),

-- Of a row in two deliveries, what was said later; else what was delivered later.
newest as (
    select *
    from landed
    qualify row_number() over (partition by consent_id order by occurred_at desc, filename desc) = 1
),

final as (
    select
        consent_id,
        customer_id,
        purpose,
        status,
        regime,
        occurred_at,
        source
    from newest
)

select * from final
