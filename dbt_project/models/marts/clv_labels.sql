with history as (
    select * from {{ ref('int_history') }}
),

-- Every fourth Monday back from the last one whose window has closed; with whole windows on both sides. Counted from
-- the data's end, so that nothing depends on where months begin; Mondays, because these have feature rows.
cutoffs as (
    select
        spine.customer_id,
        spine.as_of as cutoff_at,
        spine.as_of_day as cutoff_day
    from {{ ref('int_customer_as_of') }} as spine
    cross join history
    where
        (cast(date_trunc('week', history.ends_on - 91) as date) - spine.as_of_day) % 28 = 0
        and spine.as_of_day >= history.starts_on + 91
        and spine.as_of_day + 91 <= history.ends_on
        -- Who has never bought says nothing of how much somebody who buys will spend.
        and spine.customer_id in (select days.customer_id from {{ ref('int_customer_days') }} as days)
),

final as (
    select
        cutoffs.customer_id,
        cutoffs.cutoff_at,
        cast(
            coalesce(sum(case when days.day >= cutoffs.cutoff_day then days.spend end), 0) as double
        ) as spend_next_91d,
        cast(
            coalesce(sum(case when days.day < cutoffs.cutoff_day then days.spend end), 0) as double
        ) as spend_prior_91d
    from cutoffs
    left join {{ ref('int_customer_days') }} as days
        on
            cutoffs.customer_id = days.customer_id
            and days.day >= cutoffs.cutoff_day - 91
            and days.day < cutoffs.cutoff_day + 91
    group by cutoffs.customer_id, cutoffs.cutoff_at
)

select * from final
