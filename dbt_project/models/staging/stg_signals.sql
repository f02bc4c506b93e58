with landed as (
    select * from {{ source('landing', 'signals') }}
),

-- Of a row in two deliveries, what was said later; else what was delivered later.
newest as (
    select *
    from landed
    qualify row_number() over (partition by signal_id order by occurred_at desc, filename desc) = 1
),

final as (
    select
        signal_id,
        signal,
        key,
        value,
        text,
        occurred_at,
        expires_at,
        source
    from newest
)

select * from final
