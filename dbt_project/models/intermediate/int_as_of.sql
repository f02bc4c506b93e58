with days as (
    select cast(series.day as date) as day
    from {{ ref('int_history') }} as history
    cross join generate_series(history.starts_on, {{ as_of_day() }}, interval 1 day) as series (day)
),

final as (
    select
        day as as_of_day,
        cast(day as timestamptz) as as_of
    from days
    where extract(isodow from day) = 1 or day = {{ as_of_day() }}
)

select * from final
