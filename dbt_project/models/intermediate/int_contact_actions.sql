with redemptions as (
    select
        contact_id,
        action,
        min(occurred_at) as redeemed_at
    from {{ ref('stg_outcomes') }}
    where kind = 'redemption' and contact_id is not null
    group by contact_id, action
),

offers as (
    select distinct
        contacts.contact_id,
        contacts.customer_id,
        contacts.campaign_id,
        contacts.campaign_type,
        contacts.assignment,
        contacts.contacted_at,
        contacts.ended_at,
        offered.action
    from {{ ref('stg_contacts') }} as contacts
    cross join unnest(contacts.offers) as offered (action)
),

final as (
    select
        offers.*,
        redemptions.redeemed_at
    from offers
    left join redemptions
        on
            offers.contact_id = redemptions.contact_id
            and offers.action = redemptions.action
)

select * from final
