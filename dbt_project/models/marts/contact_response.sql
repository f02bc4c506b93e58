with spine as (
    select * from {{ ref('int_customer_as_of') }}
),

contacts as (
    select
        customer_id,
        cast(contacted_at as date) as day
    from {{ ref('stg_contacts') }}
),

redemptions as (
    select
        customer_id,
        contact_id,
        cast(occurred_at as date) as day
    from {{ ref('stg_outcomes') }}
    where
        kind = 'redemption'
        and contact_id is not null  -- answers to contacts; those to decisions have no contact to be a rate of
),

contacted as (
    select
        spine.customer_id,
        spine.as_of,
        {{ days_since('history.day') }} as days_since_contact,
        {{ window_sum('1', 91) }} as contacts_91d,
        {{ window_sum('1', 364) }} as contacts_364d
    from spine
    left join contacts as history
        on
            spine.customer_id = history.customer_id
            and spine.as_of_day > history.day
            and spine.as_of_day <= history.day + 364
    group by spine.customer_id, spine.as_of
),

redeemed as (
    select
        spine.customer_id,
        spine.as_of,
        {{ days_since('history.day') }} as days_since_redemption,
        {{ window_sum('1', 91) }} as redemptions_91d,
        {{ window_sum('1', 364) }} as redemptions_364d,
        count(distinct history.contact_id) as coupon_campaigns_redeemed_364d
    from spine
    left join redemptions as history
        on
            spine.customer_id = history.customer_id
            and spine.as_of_day > history.day
            and spine.as_of_day <= history.day + 364
    group by spine.customer_id, spine.as_of
),

final as (
    select
        contacted.customer_id,
        contacted.as_of,
        cast(contacted.contacts_91d as integer) as contacts_91d,
        cast(contacted.contacts_364d as integer) as contacts_364d,
        cast(redeemed.redemptions_91d as integer) as redemptions_91d,
        cast(redeemed.redemptions_364d as integer) as redemptions_364d,
        cast(
            (
                redeemed.coupon_campaigns_redeemed_364d
                + {{ var('response_prior_contacts') }} * {{ var('response_prior_rate') }}
            ) / (contacted.contacts_364d + {{ var('response_prior_contacts') }}) as double
        ) as response_rate_364d,
        cast(contacted.days_since_contact as integer) as days_since_contact,
        cast(redeemed.days_since_redemption as integer) as days_since_redemption,
        cast(redeemed.coupon_campaigns_redeemed_364d as integer) as coupon_campaigns_redeemed_364d
    from contacted
    inner join redeemed
        on
            contacted.customer_id = redeemed.customer_id
            and contacted.as_of = redeemed.as_of
)

select * from final
