-- What was redeemed of no offer that landed is no label: the contact has not landed, or did not offer the action.
{{ config(severity='warn') }}
select
    outcomes.outcome_id,
    outcomes.contact_id,
    outcomes.action
from {{ ref('stg_outcomes') }} as outcomes
left join {{ ref('stg_contacts') }} as contacts on outcomes.contact_id = contacts.contact_id
where
    outcomes.kind = 'redemption'
    and outcomes.contact_id is not null
    and not coalesce(list_contains(contacts.offers, outcomes.action), false)
