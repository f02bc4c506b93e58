with history as (
    select min(ends_at) as ends_at
    from {{ ref('int_history') }}
),

decisions as (
    select
        decisions.*,
        {{ at_home('decisions.occurred_at', 'customers.time_zone') }} as local_time,
        min(decisions.slot) over (
            partition by decisions.decision_id, decisions.placement
        ) = decisions.slot as is_first
    from {{ ref('stg_decisions') }} as decisions
    left join {{ ref('stg_customers') }} as customers on decisions.customer_id = customers.customer_id
    where decisions.learning
),

-- The draw that filled the first slot of a placement. Those after it are drawn among what is left, which is not kept.
draws as (
    select
        decisions.decision_id,
        decisions.slot,
        cast(placements.drawn as varchar) as draw
    from decisions
    cross join unnest(cast(json_extract(decisions.record, '$.placements') as json[])) as placements (drawn)
    where decisions.is_first and json_extract_string(placements.drawn, '$.id') = decisions.placement
),

met as (
    select
        decisions.decision_id,
        decisions.slot,
        min(events.occurred_at) as seen_at,
        count(case when events.type = 'click' then 1 end) > 0 as is_clicked
    from decisions
    inner join {{ ref('stg_events') }} as events
        on
            decisions.decision_id = events.decision_id
            and (decisions.slot = events.slot or (events.slot is null and decisions.action = events.action))
    where events.type in ('impression', 'email_open', 'click')
    group by decisions.decision_id, decisions.slot
),

responses as (
    select
        customer_id,
        decision_id,
        slot,
        action,
        occurred_at
    from {{ ref('stg_outcomes') }}
    where kind in ('redemption', 'conversion')
),

answered as (
    select distinct
        decisions.decision_id,
        decisions.slot
    from decisions
    inner join responses
        on
            decisions.decision_id = responses.decision_id
            and (decisions.slot = responses.slot or (responses.slot is null and decisions.action = responses.action))
),

responded as (
    select distinct
        decisions.decision_id,
        decisions.slot
    from decisions
    inner join responses
        on
            decisions.customer_id = responses.customer_id
            and decisions.occurred_at < responses.occurred_at
            and decisions.occurred_at + interval '7 days' >= responses.occurred_at
),

final as (
    select
        decisions.decision_id,
        decisions.slot,
        decisions.customer_id,
        decisions.occurred_at as decided_at,
        decisions.channel,
        decisions.action,
        decisions.treatment,
        decisions.probability,
        draws.draw,
        cast(extract(hour from decisions.local_time) as integer) as hour_of_day,
        cast(extract(isodow from decisions.local_time) as integer) as weekday,
        met.seen_at is not null as is_seen,
        met.seen_at,
        case when decisions.channel = 'email' then met.seen_at is not null end as is_opened,
        coalesce(met.is_clicked, false) as is_clicked,
        answered.decision_id is not null as is_answered,
        responded.decision_id is not null as any_response_7d,
        coalesce(decisions.occurred_at + interval '7 days' <= history.ends_at, false) as is_complete,
        decisions.source
    from decisions
    cross join history
    left join draws on decisions.decision_id = draws.decision_id and decisions.slot = draws.slot
    left join met on decisions.decision_id = met.decision_id and decisions.slot = met.slot
    left join answered on decisions.decision_id = answered.decision_id and decisions.slot = answered.slot
    left join responded on decisions.decision_id = responded.decision_id and decisions.slot = responded.slot
)

select * from final
