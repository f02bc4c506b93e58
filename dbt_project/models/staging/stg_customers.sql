with landed as (
    select * from {{ source('landing', 'customers') }}
),

renamed as (
    select
        customer_id,
        age_band,
        income_band,
        home_ownership,
        marital_status,
        household_size,
        household_composition,
        kids_count,
        time_zone,
        updated_at,
        source
    from landed
),

final as (
    select *
    from renamed
    qualify row_number() over (partition by customer_id order by updated_at desc) = 1
)

select * from final
