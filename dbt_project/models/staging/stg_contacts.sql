with landed as (
    select * from {{ source('landing', 'contacts') }}
),

-- Of a row in two deliveries, what was said later; else what was delivered later.
newest as (
    select *
    from landed
    qualify row_number() over (partition by contact_id order by contacted_at desc, filename desc) = 1
),

final as (
    select
        contact_id,
        customer_id,
        campaign_id,
        campaign_type,
        channel,
        offers,
        assignment,
        contacted_at,
        ended_at,
        source
    from newest
)

select * from final
