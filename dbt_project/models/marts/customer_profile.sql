with spine as (
    select * from {{ ref('int_customer_as_of') }}
),

customers as (
    select * from {{ ref('stg_customers') }}
),

first_days as (
    select
        customer_id,
        min(day) as first_day
    from {{ ref('int_customer_days') }}
    group by customer_id
),

final as (
    select
        spine.customer_id,
        spine.as_of,
        {{ ordinal('customers.age_band', ['19-24', '25-34', '35-44', '45-54', '55-64', '65+']) }} as age_band_ordinal,
        {{ ordinal('customers.income_band', [
            'Under 15K', '15-24K', '25-34K', '35-49K', '50-74K', '75-99K',
            '100-124K', '125-149K', '150-174K', '175-199K', '200-249K', '250K+',
        ]) }} as income_band_ordinal,
        {{ ordinal('customers.household_size', ['1', '2', '3', '4', '5+']) }} as household_size_ordinal,
        {{ ordinal('customers.kids_count', ['0', '1', '2', '3+']) }} as kids_count_ordinal,
        case when customers.home_ownership in ('Homeowner', 'Probable Homeowner') then 1 else 0 end as is_homeowner,
        case when customers.marital_status = 'Married' then 1 else 0 end as is_married,
        case when customers.age_band is not null then 1 else 0 end as has_demographics,
        cast(greatest(coalesce(spine.as_of_day - first_days.first_day, 0), 0) as integer) as tenure_days
    from spine
    -- What was said of a customer later than a midnight was not known at it.
    left join customers
        on
            spine.customer_id = customers.customer_id
            and spine.as_of >= customers.updated_at
    left join first_days on spine.customer_id = first_days.customer_id
)

select * from final
