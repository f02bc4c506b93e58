with landed as (
    select * from {{ source('landing', 'transactions') }}
),

renamed as (
    select
        basket_id,
        product_id,
        customer_id,
        store_id,
        quantity,
        cast(sales_value as decimal(18, 4)) as sales_value,
        cast(retail_discount as decimal(18, 4)) as retail_discount,
        cast(coupon_discount as decimal(18, 4)) as coupon_discount,
        cast(coupon_match_discount as decimal(18, 4)) as coupon_match_discount,
        currency,
        occurred_at,
        source
    from landed
),

final as (
    select *
    from renamed
    qualify row_number() over (partition by basket_id, product_id order by occurred_at desc) = 1
)

select * from final
