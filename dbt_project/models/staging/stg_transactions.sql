with landed as (
    select * from {{ source('landing', 'transactions') }}
),

-- Of a row in two deliveries, what was said later; else what was delivered later.
newest as (
    select *
    from landed
    qualify row_number() over (partition by basket_id, product_id order by occurred_at desc, filename desc) = 1
),

final as (
    select
        basket_id,
        product_id,
        customer_id,
        store_id,
        quantity,
        {{ money('sales_value') }} as sales_value,
        {{ money('retail_discount') }} as retail_discount,
        {{ money('coupon_discount') }} as coupon_discount,
        {{ money('coupon_match_discount') }} as coupon_match_discount,
        currency,
        occurred_at,
        received_at,
        source
    from newest
)

select * from final
