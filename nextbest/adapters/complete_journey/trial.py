"""A randomized trial in the demo data's last weeks: whom it decided for, what was seen of it, and what came of it.

Belongs here: the design of the trial, and the features that its customers answer by. Does not belong here: how they
answer, which is known (`nextbest.market`), or what is imported (`mapping`).

Eight times in nine weeks a household is decided for at random, at any hour and in any placement: nothing, a fifth of
the time, or one of the actions that features are computed for, all equally likely. Eight days lie between two days of
decisions, so that the weeks after two decisions never overlap; the week after the last one is not over when the data
ends. What customers do is simulated; so are their weeks of their own accord, without which an effect could not be told
from what comes anyway.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import duckdb

from nextbest import records
from nextbest.adapters.complete_journey.mapping import TIME_ZONE
from nextbest.hashing import uniforms
from nextbest.market import Answer, Market
from nextbest.policy_document import ActionDocument, PlacementDocument, PolicyDocument
from nextbest.records import DO_NOTHING, Candidate, DecisionRecord, PlacementRecord, SlotRecord

TRIED: Final = ("decisions", "events", "outcomes")
MARKET: Final = Market(8, takes=timedelta(days=2), zone=ZoneInfo(TIME_ZONE))
"""Who answers; a redemption takes two days in the mean."""

_POLICY: Final = "trial"
_SPEND: Final = "category_spend_182d__"
_NOTHING: Final = 0.2
_DECISIONS, _DAYS_BETWEEN = 8, 8
_WEEK: Final = timedelta(weeks=1)
_WEEKS: Final = 9

# As of the Mondays before decisions, and as the marts have them, so that the truth of an answer can be told from them.
_FEATURES: Final = """
WITH mondays AS (
    SELECT unnest(generate_series(
        date_trunc('week', $first::TIMESTAMPTZ), date_trunc('week', $last::TIMESTAMPTZ), INTERVAL 7 DAY
    ))::TIMESTAMPTZ AS monday
),
lines AS (
    SELECT household_id, shifted(timezone('UTC', transaction_timestamp)) AS moment, product_id, sales_value
    FROM transactions
    SEMI JOIN household USING (household_id)
),
days AS (
    SELECT DISTINCT household_id, moment::DATE AS day
    FROM lines
),
visits AS (
    SELECT household_id, monday, monday::DATE - max(day) AS recency_days
    FROM mondays JOIN days ON days.day < monday::DATE
    GROUP BY household_id, monday
),
spends AS (
    SELECT household_id, moment::DATE AS day, action, sum(sales_value::DECIMAL(18, 2)) AS spend
    FROM lines
    JOIN products USING (product_id)
    JOIN category_action ON category_action.category = products.product_category
    WHERE action IN (SELECT unnest($actions::VARCHAR[]))
    GROUP BY ALL
),
categories AS (
    SELECT household_id, monday, map_from_entries(list((action, spend))) AS spends
    FROM (
        SELECT household_id, monday, action, sum(spend)::DOUBLE AS spend
        FROM mondays JOIN spends ON spends.day < monday::DATE AND spends.day >= monday::DATE - 182
        GROUP BY ALL
    )
    GROUP BY ALL
),
sent AS (
    SELECT household_id, campaign_id, shifted(local_midnight(start_date))::DATE AS day
    FROM campaigns JOIN campaign_descriptions USING (campaign_id)
),
answered AS (
    SELECT household_id, campaign_id, redeemed_at::DATE AS day
    FROM redemption
),
rates AS (
    SELECT
        household_id,
        monday,
        (count(DISTINCT campaign_id) FILTER (answered.day < monday::DATE AND answered.day >= monday::DATE - 364) + 1)
            / (count(DISTINCT campaign_id) FILTER (sent.day >= monday::DATE - 364) + 10) AS response_rate
    FROM mondays
    JOIN sent ON sent.day < monday::DATE
    LEFT JOIN answered USING (household_id, campaign_id)
    GROUP BY household_id, monday
)
SELECT
    household_id::VARCHAR AS customer_id, monday, recency_days, coalesce(response_rate, 0.1) AS response_rate, spends
FROM household
CROSS JOIN mondays
LEFT JOIN visits USING (household_id, monday)
LEFT JOIN categories USING (household_id, monday)
LEFT JOIN rates USING (household_id, monday)
ORDER BY household.household_id, monday
"""

Row = dict[str, Any]
Features = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class _Place:
    """A placement, and what may fill it; masses as a record has them."""

    document: PlacementDocument
    options: tuple[Candidate, ...]
    groups: Mapping[str, str]
    currency: str

    @property
    def pmf(self) -> dict[str, float]:
        each = (1 - _NOTHING) / (len(self.options) - 1)
        return {option.key: _NOTHING if option.action == DO_NOTHING else each for option in self.options}


def trial(con: duckdb.DuckDBPyConnection, policy: PolicyDocument, end: datetime) -> dict[str, list[Row]]:
    """The rows of each of `TRIED`, for the households of `con`, of a trial until `end`."""
    actions = [action for action in policy.actions.actions if action.starting is None]
    places = [_place(placement, actions, policy.actions.currency) for placement in policy.placements.placements]
    start = (end - _WEEKS * _WEEK).replace(microsecond=0)
    rows: dict[str, list[Row]] = defaultdict(list)
    for customer, known in features_of(con, start, end, [action.id for action in actions]).items():
        for record in _decisions(customer, places, start):
            [decision] = records.rows(record)
            rows["decisions"].append(decision | {"source": "simulated"})
            for answer in _answers(decision, known[_monday(record.occurred_at)]):
                rows[answer.contract].append(answer.row)
        for week in range(_WEEKS):
            since = start + week * _WEEK
            features = known[_monday(since)]
            for answer in MARKET.week(customer, features, _bought(features), since):
                rows[answer.contract].append(answer.row)
    return {name: [row for row in rows[name] if row["occurred_at"] <= end] for name in TRIED}


def _place(placement: PlacementDocument, actions: Sequence[ActionDocument], currency: str) -> _Place:
    options = [Candidate(placement.id, DO_NOTHING, placement.fallback.treatment, "arbitration")]
    for action in actions:
        treatment = next((each.id for each in action.treatments if each.placement == placement.id), None)
        if treatment is not None:
            worth = action.value if isinstance(action.value, float) else None
            cost = action.cost if isinstance(action.cost, float) else None
            options.append(Candidate(placement.id, action.id, treatment, "arbitration", value=worth, cost=cost))
    return _Place(placement, tuple(options), {action.id: action.group for action in actions}, currency)


def _decisions(customer: str, places: Sequence[_Place], start: datetime) -> Iterator[DecisionRecord]:
    [first] = uniforms(1, "complete journey trial", customer).tolist()
    for number in range(_DECISIONS):
        day, where, nothing, which = uniforms(4, "complete journey trial", customer, number).tolist()
        at = start + timedelta(days=int(7 * first) + _DAYS_BETWEEN * number + day)
        place = places[int(len(places) * where)]
        others = len(place.options) - 1
        option = place.options[0 if nothing < _NOTHING else 1 + int(others * which)]
        yield _record(f"trial-{customer}-{number}", customer, at.replace(microsecond=0), place, option)


def _record(name: str, customer: str, at: datetime, place: _Place, option: Candidate) -> DecisionRecord:
    pmf = place.pmf
    slot = SlotRecord(
        slot=0,
        action=option.action,
        treatment=option.treatment,
        group=place.groups.get(option.action, ""),
        probability=pmf[option.key],
    )
    order = (option.key, *(key for key in pmf if key != option.key))
    placement = PlacementRecord(
        id=place.document.id, channel=place.document.channel, pmf=pmf, order=order, slots=(slot,)
    )
    return DecisionRecord(
        decision_id=name,
        request_id=name,
        occurred_at=at,
        customer_id=customer,
        policy_hash=_POLICY,
        currency=place.currency,
        candidates=(option,),
        placements=(placement,),
    )


def _bought(features: Features) -> list[str]:
    """The actions whose products the customer has bought."""
    return sorted(name.removeprefix(_SPEND) for name, spend in features.items() if name.startswith(_SPEND) and spend)


def _monday(at: datetime) -> datetime:
    """The midnight whose features are known at `at`."""
    day = at.astimezone(UTC).date()
    return datetime.combine(day - timedelta(days=day.weekday()), time(), UTC)


def _answers(decision: Row, features: Features) -> Iterator[Answer]:
    """What the market says; an e-mail that is seen has been opened."""
    for answer in MARKET.answer(decision, features, decision["occurred_at"]):
        yield answer
        if answer.row.get("type") == "impression" and decision["channel"] == "email":
            event_id = f"{decision['decision_id']}-{decision['slot']}-email_open"
            yield Answer("events", answer.row | {"event_id": event_id, "type": "email_open"})


def features_of(
    con: duckdb.DuckDBPyConnection, first: datetime, last: datetime, actions: Sequence[str]
) -> dict[str, dict[datetime, Features]]:
    """What customers answer by, for each household of `con` and each Monday from the one before `first` to `last`."""
    found: dict[str, dict[datetime, Features]] = defaultdict(dict)
    rows = con.execute(_FEATURES, {"first": first, "last": last, "actions": list(actions)}).fetchall()
    for customer, monday, recency_days, response_rate, spends in rows:
        known = {f"{_SPEND}{action}": spend for action, spend in (spends or {}).items()}
        found[customer][monday] = {"recency_days": recency_days, "response_rate_364d": response_rate, **known}
    return found
