with spine as (
    select * from {{ ref('int_customer_as_of') }}
),

windows as (
    select
        spine.customer_id,
        spine.as_of,
        {{ days_since('history.day') }} as recency_days,
        {{ window_sum('history.baskets', 28) }} as baskets_28d,
        {{ window_sum('history.baskets', 91) }} as baskets_91d,
        {{ window_sum('history.baskets', 364) }} as baskets_364d,
        {{ window_sum('history.spend', 28) }} as spend_28d,
        {{ window_sum('history.spend', 91) }} as spend_91d,
        {{ window_sum('history.spend', 364) }} as spend_364d,
        {{ window_sum('1', 91) }} as active_days_91d,
        {{ window_sum('history.retail_discount', 91) }} as retail_discount_91d,
        {{ window_sum('history.coupon_discount', 91) }} as coupon_discount_91d,
        {{ window_sum('history.coupon_baskets', 91) }} as coupon_baskets_91d,
        {{ window_sum('history.private_label_spend', 91) }} as private_label_spend_91d
    from spine
    left join {{ ref('int_customer_days') }} as history
        on
            spine.customer_id = history.customer_id
            and spine.as_of_day > history.day
            and spine.as_of_day <= history.day + 364
    group by spine.customer_id, spine.as_of
),

products as (
    select
        spine.customer_id,
        spine.as_of,
        coalesce(sum(history.change), 0) as distinct_products_91d
    from spine
    left join {{ ref('int_product_counts') }} as history
        on
            spine.customer_id = history.customer_id
            and spine.as_of_day > history.day
    group by spine.customer_id, spine.as_of
),

purchase_days as (
    select
        customer_id,
        day,
        spend,
        min(day) over (partition by customer_id) as first_day
    from {{ ref('int_customer_days') }}
    where spend > 0
),

-- What models of buying take for a customer: days with a purchase after the first one, and when these were.
lifetimes as (
    select
        spine.customer_id,
        spine.as_of,
        sum(case when history.day > history.first_day then 1 else 0 end) as repeat_days,
        sum(case when history.day > history.first_day then history.spend else 0 end) as repeat_spend,
        coalesce(max(history.day) - min(history.first_day), 0) as last_repeat_days,
        coalesce(max(spine.as_of_day) - min(history.first_day), 0) as observed_days
    from spine
    left join purchase_days as history
        on
            spine.customer_id = history.customer_id
            and spine.as_of_day > history.day
    group by spine.customer_id, spine.as_of
),

final as (
    select
        windows.customer_id,
        windows.as_of,
        cast(windows.recency_days as integer) as recency_days,
        cast(windows.baskets_28d as integer) as baskets_28d,
        cast(windows.baskets_91d as integer) as baskets_91d,
        cast(windows.baskets_364d as integer) as baskets_364d,
        cast(windows.spend_28d as double) as spend_28d,
        cast(windows.spend_91d as double) as spend_91d,
        cast(windows.spend_364d as double) as spend_364d,
        cast({{ share('windows.spend_91d', 'windows.baskets_91d') }} as double) as mean_basket_value_91d,
        cast(windows.active_days_91d as integer) as active_days_91d,
        cast(products.distinct_products_91d as integer) as distinct_products_91d,
        cast(
            {{ share('windows.retail_discount_91d', '(windows.spend_91d + windows.retail_discount_91d)') }} as double
        ) as retail_discount_share_91d,
        cast(windows.coupon_discount_91d as double) as coupon_discount_91d,
        cast(windows.coupon_baskets_91d as integer) as coupon_baskets_91d,
        cast({{ share('windows.private_label_spend_91d', 'windows.spend_91d') }} as double) as private_label_share_91d,
        cast({{ share('(windows.spend_28d / 28)', '(windows.spend_91d / 91)') }} as double) as spend_trend,
        cast(lifetimes.repeat_days as integer) as repeat_days,
        cast(lifetimes.last_repeat_days as integer) as last_repeat_days,
        cast(lifetimes.observed_days as integer) as observed_days,
        cast({{ share('lifetimes.repeat_spend', 'lifetimes.repeat_days') }} as double) as mean_day_spend
    from windows
    inner join products
        on
            windows.customer_id = products.customer_id
            and windows.as_of = products.as_of
    inner join lifetimes
        on
            windows.customer_id = lifetimes.customer_id
            and windows.as_of = lifetimes.as_of
)

select * from final
