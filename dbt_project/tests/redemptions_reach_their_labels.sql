-- Each redemption of an action that a contact offered is a positive label, and nothing else is.
with redeemed as (
    select distinct
        outcomes.contact_id,
        outcomes.action
    from {{ ref('stg_outcomes') }} as outcomes
    inner join {{ ref('int_actions') }} as actions on outcomes.action = actions.action
    inner join {{ ref('stg_contacts') }} as contacts on outcomes.contact_id = contacts.contact_id
    where outcomes.kind = 'redemption' and list_contains(contacts.offers, outcomes.action)
),

labelled as (
    select
        contact_id,
        action
    from {{ ref('propensity_labels') }}
    where is_redeemed
)

select
    coalesce(redeemed.contact_id, labelled.contact_id) as contact_id,
    coalesce(redeemed.action, labelled.action) as action
from redeemed
full outer join labelled
    on
        redeemed.contact_id = labelled.contact_id
        and redeemed.action = labelled.action
where redeemed.contact_id is null or labelled.contact_id is null
