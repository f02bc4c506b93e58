with landed as (
    select * from {{ source('landing', 'contacts') }}
),

renamed as (
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
    from landed
),

final as (
    select *
    from renamed
    qualify row_number() over (partition by contact_id order by contacted_at desc) = 1
)

select * from final
