-- A mistyped year must neither make midnights of decades nor close windows that are still open.
with transactions as (
    select occurred_at
    from {{ ref('stg_transactions') }}
    where cast(occurred_at as date) <= {{ as_of_day() }}
),

final as (
    select
        greatest(cast(min(occurred_at) as date), {{ as_of_day() }} - {{ var('history_days') }}) as starts_on,
        cast(max(occurred_at) as date) as ends_on,
        max(occurred_at) as ends_at
    from transactions
    having count(*) > 0
)

select * from final
