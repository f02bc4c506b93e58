"""A decision computes the live features that its policy and models name, and its record has them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from nextbest import records
from nextbest.decision import LIVE_ONLY, decide, settle
from nextbest.envelope import Envelope
from nextbest.live import LIVE_STATE, encode, union
from nextbest.live_plan import LivePlans, names
from nextbest.messages import Profile, Request
from nextbest.model_set import FeatureSpec, Model, model_set
from nextbest.policy import Policy
from nextbest.policy_check import check
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import Snapshot
from nextbest.replay import replay
from nextbest.reservations import reserve
from nextbest.situation import Models

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
CLICKS, CART, HOURS = "live_click_count_1h", "live_cart_value", "live_hours_since__bread"


@pytest.fixture
def live_policy(document: dict[str, Any]) -> Policy:
    """A rule, a text, the online correction and a shadow each name a live feature of their own."""
    live = [
        {"name": name, "description": "so many"} for name in (CLICKS, CART, "live_session_events", "live_cart_items")
    ]
    document["features"]["features"] += [*live, {"name": "live_burst_score", "description": "nobody names it"}]
    apples = document["actions"]["actions"][0]
    apples["eligibility"] = [f"{CLICKS} > 0.0"]
    apples["treatments"][0]["content"]["headline"] = "Worth {{ customer.live_cart_value }}"
    document["arbitration"]["learning"] = {"features": [{"name": "live_session_events"}]}
    document["experiments"] = {"shadows": [{"id": "other", "changes": {"formula": "value * live_cart_items"}}]}
    parsed = PolicyDocument.model_validate(document)
    assert [problem.message for problem in check(parsed)] == []
    return compile_policy(parsed)


def click(ago: timedelta) -> Envelope:
    return Envelope(
        event_id=f"{ago}",
        type="event",
        contract="events",
        contract_version="1",
        source="live",
        occurred_at=NOW - ago,
        received_at=NOW - ago,
        partition_key="c1",
        properties={"customer_id": "c1", "type": "click", "category": "BREAD"},
    )


STATE = encode(union([], [click(timedelta(0)), click(timedelta(minutes=90))]))


def test_whoever_names_a_feature_gets_it(live_policy: Policy) -> None:
    """Rules, texts, the correction, whatever is on trial, and models; what is declared only is not computed."""
    model = Model(
        name="m",
        version="1",
        run_id="r",
        file="f",
        sha256="0",
        features=(FeatureSpec("live_hours_since_purchase", "customer"), FeatureSpec("live_hours_since", "match")),
        output="probability",
    )
    asked = {name for name in names(live_policy, model_set([model], NOW)) if name.startswith("live_")}
    per_action = {f"live_hours_since__{action}" for action in ("apples", "bread", "cheese", "dates")}
    assert asked == {CLICKS, CART, "live_session_events", "live_cart_items", "live_hours_since_purchase", *per_action}


def test_the_state_becomes_features(live_policy: Policy) -> None:
    """Of this moment; the text goes no further, and who has done nothing has the features of that."""
    plans = LivePlans()
    profile = Profile(features={LIVE_STATE: STATE, "spend_91d": 1.0}, is_live_only=True)
    seen = plans.profile(profile, {}, live_policy, None, NOW)
    assert seen.is_live_only
    assert seen.features == {
        "spend_91d": 1.0,
        CLICKS: pytest.approx(1 + 0.5 ** (1 + 6 / 60 + 7 / 3600)),
        CART: 0.0,
        "live_session_events": 1.0,
        "live_cart_items": 0.0,
    }
    assert plans.profile(Profile(features={"spend_91d": 1.0}), {}, live_policy, None, NOW).features[CLICKS] == 0.0
    unavailable = Profile(unavailable="features_unavailable")
    assert plans.profile(unavailable, {}, live_policy, None, NOW) == unavailable


def test_another_policy_is_another_plan(live_policy: Policy, contents: Callable[[], dict[str, Any]]) -> None:
    """The plan follows the policy in use, and one that names no live feature has none."""
    policy = compile_policy(PolicyDocument.model_validate(contents()))
    plans, profile = LivePlans(), Profile(features={LIVE_STATE: STATE})
    assert CLICKS in plans.profile(profile, {}, live_policy, None, NOW).features
    assert plans.profile(profile, {}, policy, None, NOW).features == {}


def test_a_decision_rests_on_them_and_is_replayed_bit_for_bit(live_policy: Policy, models: Models) -> None:
    """The record has what was derived; a visitor whom no batch has seen gets a decision that says so."""
    request = Request(decision_id="d1", request_id="r1", customer_id="c1", placements=("home",))
    snapshot = Snapshot(consents={"marketing": "granted", "mailing": "granted"})

    def made(state: str) -> records.DecisionRecord:
        profile = Profile(features={LIVE_STATE: state}, is_live_only=True)
        known = LivePlans().profile(profile, {}, live_policy, models.model_set, NOW)
        proposal = decide(request, known, live_policy, models, snapshot, NOW)
        return settle(proposal, reserve(proposal, (), NOW, {})[0])

    active, idle = made(STATE), made(encode(union([])))
    assert (active.tier, active.degraded) == ("full", (LIVE_ONLY,))
    stages = [
        next(each.stage for each in one.candidates if each.action == "apples" and each.placement == "home")
        for one in (active, idle)
    ]
    assert stages == ["arbitration", "eligibility"]
    stored = records.decode(records.encode(active))
    assert replay(stored, live_policy, models) == active
    assert LIVE_STATE not in stored.features
    assert msgspec.structs.replace(stored, features=idle.features) != stored
