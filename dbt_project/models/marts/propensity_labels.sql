with history as (
    select
        min(as_of.as_of) as starts_at,
        min(history.ends_at) as ends_at
    from {{ ref('int_as_of') }} as as_of
    cross join {{ ref('int_history') }} as history
),

responses as (
    select distinct contact_id
    from {{ ref('stg_outcomes') }}
    where kind = 'redemption' and contact_id is not null
),

final as (
    select
        offers.contact_id,
        offers.customer_id,
        offers.contacted_at,
        offers.ended_at,
        offers.campaign_id,
        offers.campaign_type,
        offers.action,
        offers.assignment,
        offers.redeemed_at is not null as is_redeemed,
        responses.contact_id is not null as any_redeemed,
        coalesce(
            offers.contacted_at >= history.starts_at and offers.ended_at <= history.ends_at, false
        ) as is_complete
    from {{ ref('int_contact_actions') }} as offers
    inner join {{ ref('int_actions') }} as actions on offers.action = actions.action
    left join responses on offers.contact_id = responses.contact_id
    cross join history
)

select * from final
