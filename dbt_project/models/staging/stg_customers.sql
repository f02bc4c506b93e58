with landed as (
    select * from {{ source('landing', 'customers') }}
),

-- Of a row in two deliveries, what was said later; else what was delivered later.
newest as (
    select *
    from landed
    qualify row_number() over (partition by customer_id order by updated_at desc, filename desc) = 1
),

final as (
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
    from newest
)

select * from final
