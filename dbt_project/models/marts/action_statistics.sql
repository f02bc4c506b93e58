with moments as (
    select distinct contacted_at as as_of from {{ ref('stg_contacts') }}
    union
    select max(as_of) as as_of from {{ ref('int_as_of') }}
),

responses as (
    select
        contact_id,
        min(occurred_at) as responded_at
    from {{ ref('stg_outcomes') }}
    where kind = 'redemption' and contact_id is not null
    group by contact_id
),

counts as (
    select
        moments.as_of,
        offers.action,
        count(*) as offers,
        count(case when offers.redeemed_at < moments.as_of then 1 end) as redemptions,
        count(
            case when offers.assignment = 'subset' and responses.responded_at < moments.as_of then 1 end
        ) as subset_responses,
        count(
            case when offers.assignment = 'subset' and offers.redeemed_at < moments.as_of then 1 end
        ) as subset_redemptions
    from moments
    inner join {{ ref('int_contact_actions') }} as offers on moments.as_of > offers.contacted_at
    left join responses on offers.contact_id = responses.contact_id
    group by moments.as_of, offers.action
),

final as (
    select
        actions.action,
        actions.category,
        actions.department_id,
        moments.as_of,
        coalesce(counts.offers, 0) as offers_before,
        coalesce(counts.redemptions, 0) as redemptions_before,
        coalesce(counts.subset_responses, 0) as subset_responses_before,
        coalesce(counts.subset_redemptions, 0) as subset_redemptions_before
    from {{ ref('int_actions') }} as actions
    cross join moments
    left join counts
        on
            actions.action = counts.action
            and moments.as_of = counts.as_of
)

select * from final
