with moments as (
    select distinct contacted_at as as_of from {{ ref('stg_contacts') }}
    union
    select max(as_of) as as_of from {{ ref('int_as_of') }}
),

counts as (
    select
        moments.as_of,
        offers.action,
        count(*) as offers,
        count(case when offers.assignment = 'subset' then 1 end) as subset_offers,
        count(case when offers.redeemed_at < moments.as_of then 1 end) as redemptions,
        count(
            case when offers.assignment = 'subset' and offers.redeemed_at < moments.as_of then 1 end
        ) as subset_redemptions
    from moments
    inner join {{ ref('int_contact_actions') }} as offers on moments.as_of > offers.contacted_at
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
        coalesce(counts.subset_offers, 0) as subset_offers_before,
        coalesce(counts.subset_redemptions, 0) as subset_redemptions_before
    from {{ ref('int_actions') }} as actions
    cross join moments
    left join counts
        on
            actions.action = counts.action
            and moments.as_of = counts.as_of
)

select * from final
