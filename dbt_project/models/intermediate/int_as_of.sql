with first_day as (
    select cast(min(occurred_at) as date) as day
    from {{ ref('stg_transactions') }}
),

days as (
    select cast(series.day as date) as day
    from first_day
    cross join generate_series(first_day.day, {{ as_of_day() }}, interval 1 day) as series (day)
),

final as (
    select
        day as as_of_day,
        cast(day as timestamptz) as as_of
    from days
    where extract(isodow from day) = 1 or day = {{ as_of_day() }}
)

select * from final
