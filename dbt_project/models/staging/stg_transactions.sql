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
        {{ money('sales_value') }} as sales_value,
        {{ money('retail_discount') }} as retail_discount,
        {{ money('coupon_discount') }} as coupon_discount,
        {{ money('coupon_match_discount') }} as coupon_match_discount,
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
