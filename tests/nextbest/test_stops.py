"""Stops: every way in which screening stops an action has a change that lifts it, and words for it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from nextbest.counterfactual import decide_in, situation_of
from nextbest.decision import decide
from nextbest.messages import Profile, Request
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import Attribute, Contact, DecisionRecord, Interaction, Options, PlacementRecord, Snapshot, Usage
from nextbest.situation import Models, Situation
from nextbest.stops import lifted

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)
GRANTED = Snapshot(consents={"marketing": "granted"})
WEB = 0
KEY = "apples/apples_home"


def _contact(action: str = "apples", *, channel: str = "web", hours_ago: float = 1.0) -> Contact:
    at = NOW - hours_ago * HOUR
    return Contact(
        decision_id="earlier",
        slot=0,
        action=action,
        group="food",
        channel=channel,
        decided_at=at,
        expires_at=at + HOUR / 2,
        impressed_at=at,
    )


def _dismissal(hours_ago: float) -> Interaction:
    return Interaction(kind="dismissal", at=NOW - hours_ago * HOUR, action="apples", channel="web")


def _edited(document: dict[str, Any], edits: dict[str, Any]) -> dict[str, Any]:
    """The document with fields of apples, the other parts under their name, or all of a part's fields."""
    for name, value in edits.items():
        if name in document:
            document[name] |= value
        elif name == "experiments":
            document[name] = value
        elif name == "channel":
            document["placements"]["channels"][WEB] |= value
        else:
            document["actions"]["actions"][0][name] = value
    return document


PAUSED = {"id": "tired", "scope": "action", "outcome": "dismissal", "count": 2, "within_days": 7, "pause_days": 3}


@pytest.mark.parametrize(
    ("edits", "inputs", "kind", "subject", "after", "words"),
    [
        ({}, {"snapshot": Snapshot()}, "consent", "marketing", "granted", "grants marketing (not granted)"),
        (
            {},
            {"snapshot": Snapshot(consents={"marketing": "withdrawn"})},
            "consent",
            "marketing",
            "granted",
            "grants marketing (withdrawn)",
        ),
        (
            {},
            {"snapshot": msgspec.structs.replace(GRANTED, pauses=("apples",))},
            "pause",
            "apples",
            "resumed",
            "apples is resumed",
        ),
        (
            {"experiments": {"control": {"percent": 100}}},
            {},
            "experiment",
            "universal_control",
            "treated",
            "not in the control of universal_control",
        ),
        (
            {"experiments": {"rollouts": [{"id": "soft", "percent": 0, "actions": ["apples"]}]}},
            {},
            "rollout",
            "soft",
            None,
            "rollout soft reaches this customer: 0 % → ",
        ),
        (
            {"start": "2026-03-10"},
            {},
            "start",
            "apples",
            NOW.isoformat(),
            "the decision is made from 2026-03-10 00:00:00 UTC on",
        ),
        ({"end": "2026-03-01"}, {}, "end", "apples", (NOW + HOUR / 60).isoformat(), "not at 2026-03-02 00:00:00 UTC"),
        (
            {"eligibility": ["visits < 9.0", "spend_91d > 80.0"]},
            {},
            "feature",
            "spend_91d",
            np.nextafter(80.0, 81.0),
            "spend_91d 50.0 → above 80.0",
        ),
        ({"suitability": ["weather == 'sun'"]}, {}, "feature", "weather", "sun", "weather '' → 'sun'"),
        (
            {"applicability": ["spend_91d > 80.0 && visits > 5.0"]},
            {},
            "rule",
            "spend_91d > 80.0 && visits > 5.0",
            "changed",
            "the rule must be changed",
        ),
        (
            {"follows": [{"action": "bread", "within_hours": 24}]},
            {},
            "sequence",
            "bread",
            "impression",
            "impression of bread in the 24 h before",
        ),
        (
            {"excluded_by": [{"action": "bread", "within_hours": 24}]},
            {"snapshot": msgspec.structs.replace(GRANTED, contacts=(_contact("bread", hours_ago=3),))},
            "exclusion",
            "bread",
            "no impression",
            "room again at 2026-03-05 02:06:07 UTC",
        ),
        (
            {"starting": {"propensity": 0.1}, "arbitration": {"ramp": {"initial_percent": 0.1, "evidence": 100}}},
            {},
            "reach",
            "apples",
            None,
            "apples has reached enough customers: 0 impressions → ",
        ),
        (
            {},
            {"snapshot": msgspec.structs.replace(GRANTED, contacts=(_contact(hours_ago=2), _contact(hours_ago=1)))},
            "cap",
            "same_twice",
            3,
            "limit 2 → 3, or 1 impression fewer in the 168 h before; there is room again at 2026-03-11 03:06:07 UTC",
        ),
        (
            {
                "contact_policy": {
                    "rules": [{"id": "bored", "scope": "all", "count": "dismissal", "limit": 1, "window_hours": 4}]
                }
            },
            {"snapshot": msgspec.structs.replace(GRANTED, interactions=(_dismissal(1), _dismissal(2), _dismissal(9)))},
            "cap",
            "bored",
            3,
            "limit 1 → 3, or 2 dismissals fewer in the 4 h before; there is room again at 2026-03-04 08:06:07 UTC",
        ),
        (
            {"volume": {"limit": 10, "per": "week"}},
            {"snapshot": msgspec.structs.replace(GRANTED, usage={"apples/volume@2026-W10": Usage(seen=9, held=3)})},
            "limit",
            "apples/volume",
            13,
            "10 → 13 per week, or it is 2026-03-09 00:00:00 UTC",
        ),
        (  # no ramp holds back what is not standard
            {
                "class": "transactional",
                "starting": {"propensity": 0.1},
                "volume": {"limit": 1, "per": "total"},
                "arbitration": {"ramp": {"initial_percent": 0.1, "evidence": 100}},
            },
            {"snapshot": msgspec.structs.replace(GRANTED, usage={"apples/volume@total": Usage(seen=1)})},
            "limit",
            "apples/volume",
            2,
            "apples/volume: 1 → 2 per total",
        ),
        (
            {"budget": {"amount": 2.5, "per": "total"}},
            {"snapshot": msgspec.structs.replace(GRANTED, usage={"apples/budget@total": Usage(seen=2_450_000)})},
            "limit",
            "apples/budget",
            2.55,
            "apples/budget: 2.5 → 2.55 per total",
        ),
        (
            {},
            {
                "snapshot": msgspec.structs.replace(GRANTED, contacts=(_contact(),)),
                "options": Options(dedup_with=("earlier",)),
            },
            "dedup",
            "apples",
            "asked for again",
            "what earlier decisions took",
        ),
        (
            {"contact_policy": {"suppressions": [PAUSED]}},
            {"snapshot": msgspec.structs.replace(GRANTED, interactions=(_dismissal(1), _dismissal(5)))},
            "suppression",
            "tired",
            "over",
            "tired no longer pauses action apples: until 2026-03-07 04:06:07 UTC",
        ),
        (
            {"channel": {"quiet_hours": {"start": "21:00", "end": "08:30"}}},
            {},
            "quiet_hours",
            "web",
            "over",
            "it is 2026-03-04 08:30:00 UTC or later",
        ),
    ],
)
def test_every_stop_has_what_lifts_it(
    document: dict[str, Any],
    models: Models,
    *,
    edits: dict[str, Any],
    inputs: dict[str, Any],
    kind: str,
    subject: str,
    after: Attribute | None,
    words: str,
) -> None:
    """One change is named, also in words, and with it nothing stops the action; the situation is left as it was."""
    situation = _situation(document, models, edits, **inputs)
    before = _stage(situation)
    assert before != "arbitration"
    lift = lifted(situation, situation, "home", KEY)
    assert lift is not None
    change, changed = lift
    assert (change.kind, change.subject) == (kind, subject)
    assert after is None or change.after == after
    assert words in change.text
    assert _stage(changed) == "arbitration"
    assert _stage(situation) == before
    assert lifted(changed, situation, "home", KEY) is None


def test_a_feature_is_named_from_what_it_was_at_first(document: dict[str, Any], models: Models) -> None:
    """Earlier changes of the same feature are no part of the customer."""
    origin = _situation(document, models, {"eligibility": ["visits > 3.0"]})
    situation = _situation(document, models, {"eligibility": ["visits > 3.0"]}, features={"visits": 2.5})
    lift = lifted(situation, origin, "home", KEY)
    assert lift is not None
    assert lift[0].before == 2.0


def test_what_cannot_be_lifted(document: dict[str, Any], models: Models) -> None:
    """An amount that comes to no number is a mistake, not a stop."""
    situation = _situation(document, models, {"value": "1.0 / 0.0"})
    assert _stage(situation) == "score"
    assert lifted(situation, situation, "home", KEY) is None


def _situation(
    document: dict[str, Any],
    models: Models,
    edits: dict[str, Any],
    *,
    snapshot: Snapshot = GRANTED,
    options: Options = Options(),  # noqa: B008  frozen
    features: dict[str, Attribute | None] | None = None,
) -> Situation:
    """As it is read off the record of a decision."""
    policy = compile_policy(PolicyDocument.model_validate(_edited(document, edits)))
    request = Request(
        decision_id="d1", request_id="r1", customer_id="c1", placements=("home",), context={}, options=options
    )
    profile = Profile(features=features or {"spend_91d": 50.0, "visits": 2.0})
    record = decide(request, profile, policy, models, snapshot, NOW).record
    place = PlacementRecord(id="home", channel="web", pmf={}, order=())
    made: DecisionRecord = msgspec.structs.replace(record, placements=(place,))
    return situation_of(made, policy, models)


def _stage(situation: Situation) -> str:
    return next(each.stage for each in decide_in(situation).record.candidates if each.key == KEY)
