with lines as (
    select
        transactions.customer_id,
        transactions.basket_id,
        transactions.sales_value,
        transactions.retail_discount,
        transactions.coupon_discount,
        products.department_id,
        products.category_id,
        products.brand,
        cast(transactions.occurred_at as date) as day
    from {{ ref('stg_transactions') }} as transactions
    left join {{ ref('stg_products') }} as products on transactions.product_id = products.product_id
),

final as (
    select
        customer_id,
        day,
        {%- for department in var('departments') %}
        {{ money("sum(case when department_id = '" ~ department ~ "' then sales_value else 0 end)") }}
            as department_spend__{{ department }},
        {%- endfor %}
        {%- for action in var('actions') %}
        {{ money("sum(case when category_id = '" ~ action ~ "' then sales_value else 0 end)") }}
            as category_spend__{{ action }},
        {%- endfor %}
        count(distinct basket_id) as baskets,
        count(distinct case when coupon_discount > 0 then basket_id end) as coupon_baskets,
        {{ money('sum(sales_value)') }} as spend,
        {{ money('sum(retail_discount)') }} as retail_discount,
        {{ money('sum(coupon_discount)') }} as coupon_discount,
        {{ money("sum(case when brand = 'Private' then sales_value else 0 end)") }} as private_label_spend
    from lines
    group by customer_id, day
)

select * from final
