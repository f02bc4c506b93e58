-- Each redemption of an action that a contact offered is a positive label, and nothing else is.
with redeemed as (
    select distinct
        contact_id,
        action
    from {{ ref('stg_outcomes') }}
    where kind = 'redemption' and action in (select action from {{ ref('int_actions') }})
),

labelled as (
    select
        contact_id,
        action
    from {{ ref('propensity_labels') }}
    where is_redeemed
)

(select * from redeemed where contact_id is not null except select * from labelled)
union all
(select * from labelled except select * from redeemed)
