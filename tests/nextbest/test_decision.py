"""Decisions: who is dropped and why, what wins and how likely that was, and what happens when a part is missing."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextbest import records
from nextbest.decision import UnknownPlacementError, decide, settle
from nextbest.envelope import Identifier
from nextbest.messages import Profile, Proposal, Request
from nextbest.policy import Policy
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import Attribute, Contact, DecisionRecord, Options, Snapshot
from nextbest.replay import ReplayError, replay
from nextbest.reservations import reserve
from nextbest.situation import Models, ScoringError

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
CUSTOMER = Profile(features={"spend_91d": 50.0, "visits": 2.0})
CONSENTING = Snapshot(consents={"marketing": "granted"})


def request(placement: str = "home", **fields: Any) -> Request:
    defaults: dict[str, Any] = {
        "decision_id": "d1",
        "request_id": "r1",
        "customer_id": "c1",
        "placements": (placement,),
    }
    return Request(**(defaults | fields))


def contact(action: str = "apples", *, channel: str = "web", hours_ago: float = 1.0, seen: bool = True) -> Contact:
    at = NOW - timedelta(hours=hours_ago)
    expires_at = at + timedelta(minutes=30)
    return Contact(
        decision_id="earlier",
        slot=0,
        action=action,
        group="food",
        channel=channel,
        decided_at=at,
        expires_at=expires_at,
        impressed_at=at if seen else None,
    )


def finish(proposal: Proposal) -> DecisionRecord:
    grant, _ = reserve(proposal, proposal.record.snapshot.contacts, NOW)
    return settle(proposal, grant)


def reasons(proposal: Proposal) -> dict[str, tuple[str, str]]:
    return {c.action: (c.stage, c.reason) for c in proposal.record.candidates if c.action != records.DO_NOTHING}


def test_priority_is_p_times_v_times_l_less_cost(policy: Policy, models: Models) -> None:
    """The best expected margin has the most mass, and each candidate's numbers are in the record."""
    proposal = decide(request(), CUSTOMER, policy, models, CONSENTING, NOW)
    priorities = {c.action: c.priority for c in proposal.record.candidates}
    expected = {"do_nothing": 0.0, "apples": 0.9, "bread": 0.8, "cheese": 0.9, "dates": 0.4}
    assert priorities == pytest.approx(expected)
    pmf = finish(proposal).placements[0].pmf
    assert sum(pmf.values()) == pytest.approx(1.0)
    assert max(pmf, key=lambda key: pmf[key]) in {"apples/apples_home", "cheese/cheese_home"}


def test_channel_cost_counts(policy: Policy, models: Models) -> None:
    """The same action is worth less where reaching the customer costs."""
    proposal = decide(request("mail"), CUSTOMER, policy, models, CONSENTING, NOW)
    bread = next(c for c in proposal.record.candidates if c.action == "bread")
    assert bread.cost == 0.05
    assert bread.priority == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("snapshot", "placement", "stage", "reason"),
    [
        (Snapshot(), "home", "consent", "marketing: not granted"),
        (Snapshot(consents={"marketing": "withdrawn"}), "home", "consent", "marketing: withdrawn"),
        (Snapshot(consents={"marketing": "granted", "mailing": "withdrawn"}), "mail", "consent", "mailing: withdrawn"),
        (Snapshot(consents={"marketing": "granted"}, pauses=("apples",)), "home", "pause", "paused"),
        (
            Snapshot(consents={"marketing": "granted"}, contacts=(contact(), contact(channel="email"))),
            "home",
            "contact_policy",
            "same_twice: 2 of 2",
        ),
        (
            Snapshot(consents={"marketing": "granted"}, contacts=(contact("other", channel="email"),)),
            "mail",
            "contact_policy",
            "one_mail: 1 of 1",
        ),
        (
            Snapshot(consents={"marketing": "granted"}, contacts=(contact(channel="email", hours_ago=24),)),
            "mail",
            "arbitration",
            "",
        ),
    ],
)
def test_what_stops_an_action(
    policy: Policy, models: Models, *, snapshot: Snapshot, placement: str, stage: str, reason: str
) -> None:
    """Consent under its regime, a pause, and caps over their window stop an action, and the record says which."""
    proposal = decide(request(placement), CUSTOMER, policy, models, snapshot, NOW)
    assert reasons(proposal)["apples"] == (stage, reason)


@pytest.mark.parametrize(
    ("features", "context", "action", "verdict"),
    [
        ({}, {}, "cheese", ("eligibility", "not so: spend_91d > 0.0")),
        ({"spend_91d": None}, {}, "cheese", ("eligibility", "not so: spend_91d > 0.0")),
        ({"visits": None}, {}, "dates", ("arbitration", "")),
        ({}, {"weather": "storm"}, "dates", ("suitability", "not so: visits >= 1.0 && weather != 'storm'")),
        ({}, {}, "apples", ("arbitration", "")),
    ],
)
def test_engagement_policy(
    policy: Policy,
    models: Models,
    *,
    features: dict[str, Attribute | None],
    context: dict[str, Attribute],
    action: str,
    verdict: tuple[str, str],
) -> None:
    """The three tiers drop an action with the rule it failed; what is missing or null takes its default."""
    proposal = decide(request(context=context), Profile(features=features), policy, models, CONSENTING, NOW)
    assert reasons(proposal)[action] == verdict


def test_a_failing_rule_drops_the_action(document: dict[str, Any], models: Models) -> None:
    """A rule that cannot be answered for this customer is not a yes."""
    document["actions"]["actions"][0]["eligibility"] = ["visits == 1.0 || weather > 2.0"]
    policy = compile_policy(PolicyDocument.model_validate(document))
    stage, reason = reasons(decide(request(), CUSTOMER, policy, models, CONSENTING, NOW))["apples"]
    assert stage == "eligibility"
    assert reason.startswith("failed: visits == 1.0 || weather > 2.0: ")


def test_exempt_classes_pass_the_caps(document: dict[str, Any], models: Models) -> None:
    """Mandatory and transactional actions are not held back by contact rules."""
    document["actions"]["actions"][0]["class"] = "transactional"
    policy = compile_policy(PolicyDocument.model_validate(document))
    snapshot = Snapshot(consents={"marketing": "granted"}, contacts=(contact(), contact()))
    assert reasons(decide(request(), CUSTOMER, policy, models, snapshot, NOW))["apples"] == ("arbitration", "")


def _broken(models: Any) -> Models:
    def refuse(_matrix: object) -> object:
        raise ScoringError("not today")

    models.answer = refuse
    return models  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("profile", "customer_id", "arrange", "reason"),
    [
        (CUSTOMER, None, lambda models: models, "unknown_customer"),
        (Profile(unavailable="features_unavailable"), "c1", lambda models: models, "features_unavailable"),
        (CUSTOMER, "c1", lambda _models: None, "no_model_set"),
        (CUSTOMER, "c1", _broken, "scoring_failed"),
    ],
)
def test_falls_back_rather_than_fail(
    policy: Policy,
    models: Models,
    *,
    profile: Profile,
    customer_id: str | None,
    arrange: Callable[[Models], Models | None],
    reason: str,
) -> None:
    """When something is missing the placement shows its fallback, marked with the reason; nobody learns from it."""
    proposal = decide(request(customer_id=customer_id), profile, policy, arrange(models), CONSENTING, NOW)
    decision = finish(proposal)
    slot = decision.placements[0].slots[0]
    assert (decision.tier, decision.degraded, decision.learning) == ("fallback", (reason,), False)
    assert (slot.action, slot.treatment, slot.probability) == ("do_nothing", "brand", 1.0)


def test_nothing_left_is_a_full_decision(policy: Policy, models: Models) -> None:
    """Without consent the fallback is shown, but nothing is broken: the decision is not degraded."""
    decision = finish(decide(request(), CUSTOMER, policy, models, Snapshot(), NOW))
    assert (decision.tier, decision.degraded) == ("full", ())
    assert decision.placements[0].pmf == {"do_nothing": 1.0}


def test_unknown_placement(policy: Policy, models: Models) -> None:
    """A placement the policy has not is the caller's mistake, and the known ones are named."""
    with pytest.raises(UnknownPlacementError, match="unknown placement attic: there is home, mail"):
        decide(request("attic"), CUSTOMER, policy, models, CONSENTING, NOW)


def test_an_action_fills_one_slot_of_a_decision(policy: Policy, models: Models) -> None:
    """With deduplication no action comes twice, within a placement or across them."""
    for number in range(50):
        asked = request(decision_id=f"d{number}", placements=("home", "mail"))
        record = finish(decide(asked, CUSTOMER, policy, models, CONSENTING, NOW))
        slots = [slot for placement in record.placements for slot in placement.slots]
        actions = [slot.action for slot in slots if slot.action != "do_nothing"]
        assert len(set(actions)) == len(actions)
        assert [slot.slot for slot in slots] == list(range(len(slots)))


def test_probability_of_the_first_slot_is_conditional(policy: Policy, models: Models) -> None:
    """It is p over the sum of p that was available when the slot was filled, by the first available of the order."""
    busy = (contact("cheese"), contact("cheese"))
    proposal = decide(request(), CUSTOMER, policy, models, CONSENTING, NOW)
    (placement,) = settle(proposal, reserve(proposal, busy, NOW)[0]).placements
    slot, mask = placement.slots[0], placement.available[0]
    free = [k for k, available in zip(placement.order, mask, strict=True) if available]
    assert "cheese/cheese_home" not in free
    assert slot.key == free[0]
    assert slot.probability == pytest.approx(placement.pmf[slot.key] / sum(placement.pmf[k] for k in free))


def test_logged_probability_is_true_when_caps_bind_at_reserve(policy: Policy, models: Models) -> None:
    """Weighted by the inverse of its probability, bread counts as once per decision, as an unbiased estimate must.

    Cheese, a favourite, is unavailable half of the time, which only the reservation finds out.
    """
    weights = []
    for number in range(4_000):
        asked = request(decision_id=f"d{number}", options=Options(limit=1))
        proposal = decide(asked, CUSTOMER, policy, models, CONSENTING, NOW)
        busy = (contact("cheese"), contact("cheese")) if number % 2 else ()
        grant, _ = reserve(proposal, busy, NOW)
        slot = settle(proposal, grant).placements[0].slots[0]
        weights.append(1.0 / slot.probability if slot.action == "bread" else 0.0)
    assert np.mean(weights) == pytest.approx(1.0, abs=4 * np.std(weights) / len(weights) ** 0.5)


def test_options_limit_and_caps(policy: Policy, models: Models) -> None:
    """`limit` bounds the slots; a dry run, shadow, or `count_toward_caps: false` reserves nothing."""
    assert decide(request(options=Options(limit=1)), CUSTOMER, policy, models, CONSENTING, NOW).placements[0].slots == 1
    for asked in (request(mode="dry_run"), request(mode="shadow"), request(options=Options(count_toward_caps=False))):
        proposal = decide(asked, CUSTOMER, policy, models, CONSENTING, NOW)
        assert reserve(proposal, (), NOW)[1] == ()


def test_actions_bring_their_attributes_to_the_model(policy: Policy, models: Any) -> None:
    """A context feature is the action's own attribute, or else what the request sends along; each action one row."""
    decide(request(placements=("home", "mail")), CUSTOMER, policy, models, CONSENTING, NOW)
    assert [matrix.tolist() for matrix in models.seen] == [[[50.0, 0.0], [50.0, 1.0], [50.0, 0.0], [50.0, 0.0]]]


def test_laps_name_the_stages(policy: Policy, models: Models) -> None:
    """A caller with a clock can time each stage, and its measurements go into the record."""
    laps: list[str] = []
    proposal = decide(request(), CUSTOMER, policy, models, CONSENTING, NOW, lap=laps.append)
    assert laps == ["screening", "scoring", "arbitration"]
    grant, _ = reserve(proposal, (), NOW)
    assert settle(proposal, grant, {"scoring": 12.5}).stage_us == {"scoring": 12.5}


values = st.none() | st.integers(-(2**53), 2**53) | st.floats() | st.booleans() | st.text(max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    decision_id=st.text(min_size=1, max_size=8),
    features=st.dictionaries(st.sampled_from(["spend_91d", "visits", "other"]), values),
    context=st.dictionaries(st.sampled_from(["weather", "campaign_type_a"]), st.text(max_size=5) | st.integers(0, 9)),
    consents=st.dictionaries(st.sampled_from(["marketing", "mailing"]), st.sampled_from(["granted", "withdrawn"])),
    contacts=st.lists(st.builds(contact, st.sampled_from(["apples", "bread"]), seen=st.booleans()), max_size=3),
    unavailable=st.sampled_from(["", "", "features_unavailable"]),
    seed=st.integers(0, 3),
)
def test_replay_is_bit_exact(
    policy: Policy,
    models: Models,
    *,
    decision_id: str,
    features: dict[str, Attribute | None],
    context: dict[str, Attribute],
    consents: dict[str, Any],
    contacts: list[Contact],
    unavailable: str,
    seed: int,
) -> None:
    """Deciding again from the stored record, read back from JSON, gives the identical record."""
    asked = request(decision_id=decision_id, placements=("mail", "home"), context=context)
    snapshot = Snapshot(consents=consents, contacts=tuple(contacts))
    profile = Profile(features=features, unavailable=unavailable)
    proposal = decide(asked, profile, policy, models, snapshot, NOW, seed=seed)
    grant, _ = reserve(proposal, contacts, NOW + timedelta(milliseconds=2))
    decision = settle(proposal, grant, {"screening": 7.5})
    stored = records.decode(records.encode(decision))
    assert stored == decision
    assert replay(stored, policy, models) == decision


def test_replay_wants_the_same_policy(policy: Policy, document: dict[str, Any], models: Models) -> None:
    """A record is not replayed with another policy: the answer would mean nothing."""
    decision = finish(decide(request(), CUSTOMER, policy, models, CONSENTING, NOW))
    document["arbitration"]["salt"] = "another"
    with pytest.raises(ReplayError, match="was made with policy"):
        replay(decision, compile_policy(PolicyDocument.model_validate(document)), models)


def test_rows_meet_the_decisions_contract(policy: Policy, models: Models) -> None:
    """A record gives one row per slot, with the score of what filled it and the whole record beside it."""
    record = finish(decide(request(), CUSTOMER, policy, models, CONSENTING, NOW))
    rows = list(records.rows(record))
    assert [row["slot"] for row in rows] == [slot.slot for slot in record.placements[0].slots]
    assert all(records.decode(row["record"]) == record for row in rows)
    assert {row["action"] for row in rows} <= {"apples", "bread", "cheese", "dates", "do_nothing"}


@pytest.mark.parametrize(("identifiers", "filed_under"), [((Identifier("device", "ab"),), "device:ab"), ((), "d1")])
def test_rows_of_somebody_unknown(
    policy: Policy, models: Models, *, identifiers: tuple[Identifier, ...], filed_under: str
) -> None:
    """The contract wants a customer in every row: who is not known yet is who they came as."""
    asked = request(customer_id=None, identifiers=identifiers)
    record = finish(decide(asked, CUSTOMER, policy, models, Snapshot(), NOW))
    assert [row["customer_id"] for row in records.rows(record)] == [filed_under]
