with purchases as (
    select distinct
        customer_id,
        product_id,
        cast(occurred_at as date) as day
    from {{ ref('stg_transactions') }}
),

-- A purchase counts its product for 91 days, or until the product is bought again: so no product counts twice.
spells as (
    select
        customer_id,
        day as starts_on,
        least(
            day + 91,
            coalesce(lead(day) over (partition by customer_id, product_id order by day), day + 91)
        ) as ends_on
    from purchases
),

changes as (
    select
        customer_id,
        starts_on as day,
        1 as change
    from spells
    union all
    select
        customer_id,
        ends_on as day,
        -1 as change
    from spells
),

final as (
    select
        customer_id,
        day,
        sum(change) as change
    from changes
    group by customer_id, day
)

select * from final
