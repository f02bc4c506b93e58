"""What a policy may say beyond priority: schedules, limits, sequences, suppressions, experiments, reach, …"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from nextbest import records
from nextbest.decision import decide, settle
from nextbest.messages import Profile, Proposal, Request
from nextbest.policy import Policy
from nextbest.policy_check import check
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import DO_NOTHING, Contact, DecisionRecord, Interaction, Options, Snapshot, Usage
from nextbest.replay import replay
from nextbest.reservations import reserve
from nextbest.residual import Beliefs
from nextbest.situation import Models

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)
CUSTOMER = Profile(features={"spend_91d": 50.0, "visits": 2.0})
SAID_YES = {"marketing": "granted"}

Edit = Callable[[dict[str, Any]], object]


def action(document: dict[str, Any], name: str = "apples") -> dict[str, Any]:
    return next(each for each in document["actions"]["actions"] if each["id"] == name)


def compiled(document: dict[str, Any], edit: Edit = lambda _document: None) -> Policy:
    edit(document)
    parsed = PolicyDocument.model_validate(document)
    assert [problem.message for problem in check(parsed)] == []
    return compile_policy(parsed)


def proposed(
    policy: Policy,
    models: Models | None,
    *,
    placements: tuple[str, ...] = ("home",),
    now: datetime = NOW,
    customer_id: str = "c1",
    decision_id: str = "d1",
    options: Options = Options(),  # noqa: B008  frozen
    context: dict[str, Any] | None = None,
    tier: Any = "full",
    profile: Profile = CUSTOMER,
    **known: Any,
) -> Proposal:
    """What is proposed to a consenting customer of whom State knows `known`."""
    request = Request(
        decision_id=decision_id,
        request_id="r1",
        customer_id=customer_id,
        placements=placements,
        context=context or {},
        options=options,
    )
    snapshot = Snapshot(**({"consents": SAID_YES} | known))
    residuals = Beliefs(policy).of(models)
    return decide(request, profile, policy, models, snapshot, now, residuals=residuals, tier=tier)


def finished(proposal: Proposal) -> DecisionRecord:
    snapshot = proposal.record.snapshot
    return settle(proposal, reserve(proposal, snapshot.contacts, proposal.record.occurred_at, snapshot.usage)[0])


def verdict(proposal: Proposal, name: str = "apples") -> tuple[str, str]:
    return next((c.stage, c.reason) for c in proposal.record.candidates if c.action == name)


def contact(name: str, hours_ago: float, *, seen: bool = True, decision_id: str = "earlier") -> Contact:
    at = NOW - hours_ago * HOUR
    return Contact(
        decision_id=decision_id,
        slot=0,
        action=name,
        group="food",
        channel="web",
        decided_at=at,
        expires_at=at + HOUR,
        impressed_at=at if seen else None,
    )


def did(kind: str, hours_ago: float, name: str | None = None, channel: str | None = None) -> Interaction:
    return Interaction(kind=kind, at=NOW - hours_ago * HOUR, action=name, channel=channel)


def set_(**fields: Any) -> Edit:
    return lambda document: action(document).update(fields)


@pytest.mark.parametrize(
    ("fields", "now", "expected"),
    [
        ({"start": "2026-03-05"}, NOW, ("schedule", "starts 2026-03-05 00:00 UTC")),
        ({"start": "2026-03-04"}, NOW, ("arbitration", "")),
        ({"end": "2026-03-04"}, NOW, ("arbitration", "")),
        ({"end": "2026-03-03"}, NOW, ("schedule", "ended 2026-03-04 00:00 UTC")),
        ({"end": "2026-03-04T05:00:00Z"}, NOW, ("schedule", "ended 2026-03-04 05:00 UTC")),
    ],
)
def test_schedule(
    document: dict[str, Any], models: Models, *, fields: dict[str, Any], now: datetime, expected: tuple[str, str]
) -> None:
    """An action is proposed from its first day to the end of its last, or between two moments."""
    assert verdict(proposed(compiled(document, set_(**fields)), models, now=now)) == expected


def test_days_are_of_the_policys_zone(document: dict[str, Any], models: Models) -> None:
    """The first day begins when it begins where the policy is at home."""
    document["contact_policy"]["time_zone"] = {"default": "America/New_York"}
    policy = compiled(document, set_(start="2026-03-04"))
    assert verdict(proposed(policy, models, now=NOW - HOUR)) == ("schedule", "starts 2026-03-04 05:00 UTC")
    assert verdict(proposed(policy, models)) == ("arbitration", "")


@pytest.mark.parametrize(
    ("fields", "usage", "expected"),
    [
        ({"volume": {"limit": 2, "per": "day"}}, {"apples/volume@2026-03-04": Usage(1, 1)}, "apples/volume: used up"),
        ({"volume": {"limit": 2, "per": "day"}}, {"apples/volume@2026-03-03": Usage(2, 0)}, ""),
        ({"volume": {"limit": 2, "per": "week"}}, {"apples/volume@2026-W10": Usage(2, 0)}, "apples/volume: used up"),
        ({"budget": {"amount": 1, "per": "month"}}, {"apples/budget@2026-03": Usage(900_000, 0)}, ""),
        (
            {"budget": {"amount": 1, "per": "month"}},
            {"apples/budget@2026-03": Usage(900_000, 1)},
            "apples/budget: used up",
        ),
        ({"budget": {"amount": 0.05, "per": "total"}}, {}, "apples/budget: used up"),
    ],
)
def test_limits_over_all_customers(
    document: dict[str, Any], models: Models, *, fields: dict[str, Any], usage: dict[str, Usage], expected: str
) -> None:
    """What was seen and what is reserved, plus this contact (0.10 USD), must stay within volume and budget."""
    policy = compiled(document, set_(**fields))
    assert verdict(proposed(policy, models, usage=usage))[1] == expected


def test_a_cost_by_expression_takes_its_share_of_the_budget(document: dict[str, Any], models: Models) -> None:
    """What a contact costs this customer is what it takes, to the millionth, of the period it was decided in."""
    policy = compiled(document, set_(cost="spend_91d / 1000.0", value=1000.0, budget={"amount": 1, "per": "month"}))
    record = finished(proposed(policy, models))
    slot = next(slot for slot in record.placements[0].slots if slot.action == "apples")
    assert slot.takes == {"apples/budget@2026-03": 50_000}


def test_value_by_expression(document: dict[str, Any], models: Models) -> None:
    """Value may depend on the customer; where it comes to nothing the action is dropped, with the reason."""
    policy = compiled(document, set_(value="spend_91d * 2.0"))
    candidate = next(c for c in proposed(policy, models).record.candidates if c.action == "apples")
    assert (candidate.value, candidate.priority) == pytest.approx((100.0, 9.9))
    stage, reason = verdict(proposed(compiled(document, set_(cost="1.0 - spend_91d")), models))
    assert (stage, reason) == ("score", "failed: a cost of -49 is below 0")


def test_an_own_formula(document: dict[str, Any], models: Models) -> None:
    """Priority may be an expression of the policy's own over its parts and the features."""
    document["arbitration"]["formula"] = "propensity * value * lever - 2.0 * cost + spend_91d / 1000.0"
    priorities = {c.action: c.priority for c in proposed(compiled(document), models).record.candidates}
    assert priorities == pytest.approx({DO_NOTHING: 0.0, "apples": 0.85, "bread": 0.85, "cheese": 0.95, "dates": 0.45})


def test_a_formula_that_fails_drops_the_action(document: dict[str, Any], models: Models) -> None:
    """A priority that is no number takes no part."""
    document["arbitration"]["formula"] = "value / (value - 10.0)"
    found = proposed(compiled(document), models)
    assert verdict(found)[0] == "score"
    assert verdict(found, "bread") == ("arbitration", "")


def test_a_priority_beyond_all_numbers_takes_no_part(document: dict[str, Any], models: Models) -> None:
    """What a float cannot hold drops the action; the others keep their chances, and the record can be read."""
    document["arbitration"]["exploration"] = {"strategy": "inverse_gap"}
    for action in document["actions"]["actions"][:2]:
        action |= {"value": "1.7e308", "lever": 10_000.0}
    record = finished(proposed(compiled(document), models))
    assert [each.stage for each in record.candidates[1:3]] == ["score", "score"]
    assert records.decode(records.encode(record)).placements[0].pmf == record.placements[0].pmf
    assert sum(record.placements[0].pmf.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("event", "known", "allowed"),
    [
        ("impression", {}, False),
        ("impression", {"contacts": (contact("bread", 10),)}, True),
        ("impression", {"contacts": (contact("bread", 10, seen=False),)}, False),
        ("impression", {"contacts": (contact("bread", 30),)}, False),
        ("decision", {"contacts": (contact("bread", 10, seen=False),)}, True),
        ("click", {"interactions": (did("click", 2, "bread"),)}, True),
        ("click", {"interactions": (did("click", 2, "cheese"),)}, False),
    ],
)
def test_sequences(
    document: dict[str, Any], models: Models, *, event: str, known: dict[str, Any], allowed: bool
) -> None:
    """An action that follows another waits for it; one that it excludes stands back for it, on every channel."""
    step = {"action": "bread", "event": event, "within_hours": 24}
    following = proposed(compiled(document, set_(follows=[step])), models, placements=("mail",), **known)
    assert (verdict(following)[1] == "") is allowed
    assert allowed or verdict(following)[1] == f"follows bread: no {event} in 24 h"
    excluded = proposed(compiled(document, set_(follows=[], excluded_by=[step])), models, placements=("mail",), **known)
    assert (verdict(excluded)[1] == "") is not allowed
    assert not allowed or verdict(excluded)[1] == "excluded_by bread: 1 of 1"


def test_an_exclusion_holds_in_the_atomic_step(document: dict[str, Any], models: Models) -> None:
    """What was decided for the customer meanwhile stands in the way, as a cap does."""
    step = {"action": "bread", "event": "decision", "within_hours": 24}
    proposal = proposed(compiled(document, set_(excluded_by=[step])), models)
    grant, _ = reserve(proposal, [contact("bread", 0.01, seen=False)], NOW)
    order = [option.action for option in proposal.placements[0].order]
    assert not grant.placements["home"][0].available[order.index("apples")]


@pytest.mark.parametrize(
    ("interactions", "until"),
    [
        ([did("dismissal", 1, "apples")], ""),
        ([did("dismissal", 50, "apples"), did("dismissal", 1, "apples")], ""),
        ([did("dismissal", 20, "apples"), did("dismissal", 1, "apples")], "2026-03-08 04:06"),
        ([did("dismissal", 90, "apples"), did("dismissal", 80, "apples")], "2026-03-04 21:06"),
        ([did("dismissal", 120, "apples"), did("dismissal", 110, "apples")], ""),
        ([did("dismissal", 20, "bread"), did("dismissal", 1, "apples")], ""),
    ],
)
def test_suppression(document: dict[str, Any], models: Models, *, interactions: list[Interaction], until: str) -> None:
    """Two dismissals in a day pause the action for four days from the second, and no other action."""
    document["contact_policy"]["suppressions"] = [
        {"id": "leave_me", "scope": "action", "outcome": "dismissal", "count": 2, "within_days": 1, "pause_days": 4}
    ]
    found = proposed(compiled(document), models, interactions=tuple(interactions))
    assert verdict(found)[1] == (f"leave_me: until {until} UTC" if until else "")
    assert verdict(found, "cheese")[1] == ""


@pytest.mark.parametrize(
    ("scope", "only", "stopped"),
    [
        ("group", [], {"apples", "bread", "dates"}),
        ("group", ["dairy"], set()),
        ("channel", ["web"], {"apples", "bread", "cheese", "dates"}),
        ("all", [], {"apples", "bread", "cheese", "dates"}),
    ],
)
def test_scopes_of_suppression(
    document: dict[str, Any], models: Models, *, scope: str, only: list[str], stopped: set[str]
) -> None:
    """A pause holds for everything in the scope that the answer was about."""
    document["contact_policy"]["suppressions"] = [
        {"id": "leave_me", "scope": scope, "only": only, "outcome": "complaint", "pause_days": 4}
    ]
    found = proposed(compiled(document), models, interactions=(did("complaint", 1, "apples", "web"),))
    assert {c.action for c in found.record.candidates if c.reason.startswith("leave_me")} == stopped


def test_a_cap_on_another_event(document: dict[str, Any], models: Models) -> None:
    """Whatever the events contract knows can be counted: who clicked twice in a day is not asked again that day."""
    document["contact_policy"]["rules"].append(
        {"id": "clicks", "scope": "action", "count": "click", "limit": 2, "window_hours": 24}
    )
    clicks = (did("click", 2, "apples"), did("click", 1, "apples"), did("click", 1, "bread"), did("click", 30, "bread"))
    found = proposed(compiled(document), models, interactions=clicks)
    assert (verdict(found)[1], verdict(found, "bread")[1]) == ("clicks: 2 of 2", "")


@pytest.mark.parametrize(
    ("hours", "zone", "is_quiet"),
    [
        (("05:00", "06:00"), None, True),
        (("05:07", "06:00"), None, False),
        (("21:00", "08:00"), None, True),
        (("21:00", "05:00"), None, False),
        (("21:00", "08:00"), "Asia/Tokyo", False),
        (("14:00", "15:00"), "Asia/Tokyo", True),
        (("05:00", "06:00"), "nowhere", True),
    ],
)
def test_quiet_hours(
    document: dict[str, Any], models: Models, *, hours: tuple[str, str], zone: str | None, is_quiet: bool
) -> None:
    """A channel rests by the customer's clock; where that is not known, by the policy's."""
    document["placements"]["channels"][1]["quiet_hours"] = {"start": hours[0], "end": hours[1]}
    document["contact_policy"]["time_zone"] = {"feature": "zone", "default": "UTC"}
    document["features"]["features"].append({"name": "zone", "kind": "text", "description": "time zone"})
    features = {**CUSTOMER.features, **({"zone": zone} if zone else {})}
    found = proposed(compiled(document), models, placements=("mail",), profile=Profile(features=features))
    assert ("quiet hours of email" in verdict(found)[1]) is is_quiet
    document["actions"]["actions"][0]["class"] = "transactional"
    again = proposed(compiled(document), models, placements=("mail",), profile=Profile(features=features))
    assert verdict(again)[1] == ""


def test_mandatory_comes_first(document: dict[str, Any], models: Models) -> None:
    """A mandatory action is shown before all that is drawn, for certain; the second slot is drawn as ever."""
    policy = compiled(document, set_(**{"class": "mandatory", "value": 0.0, "purpose": None}))
    for number in range(30):
        (placement,) = finished(proposed(policy, models, decision_id=f"d{number}")).placements
        first, *rest = placement.slots
        assert (first.action, first.probability, placement.ahead) == ("apples", 1.0, 1)
        assert sum(placement.pmf.values()) == pytest.approx(1.0)
        assert "apples/apples_home" not in placement.pmf
        assert all(slot.probability < 1.0 for slot in rest)


def test_the_universal_control_gets_nothing_that_was_chosen(document: dict[str, Any], models: Models) -> None:
    """In the control only mandatory and transactional actions are left, and nobody learns from it."""
    document["experiments"] = {"control": {"percent": 50}}
    policy = compiled(document, set_(**{"class": "transactional"}))
    records = [finished(proposed(policy, models, customer_id=f"c{number}")) for number in range(40)]
    sides = {"control": 0, "treated": 0}
    for record in records:
        (arm,) = record.arms
        sides[arm.arm] += 1
        left = {c.action for c in record.candidates if not c.reason}
        assert record.learning is (arm.arm == "treated")
        assert left == (
            {DO_NOTHING, "apples"} if arm.arm == "control" else {DO_NOTHING, "apples", "bread", "cheese", "dates"}
        )
    assert min(sides.values()) > 5


def test_rollout(document: dict[str, Any], models: Models) -> None:
    """An action on its way to everybody is kept from those who are not in."""
    document["experiments"] = {"rollouts": [{"id": "slowly", "percent": 50, "actions": ["apples"]}]}
    policy = compiled(document)
    found = {verdict(proposed(policy, models, customer_id=f"c{number}")) for number in range(20)}
    assert found == {("arbitration", ""), ("experiment", "slowly: not rolled out to this customer")}


def test_a_new_action_reaches_more_with_its_impressions(document: dict[str, Any], models: Models) -> None:
    """It starts with a tenth of the customers, always the same ones, and has all of them with its evidence."""
    document["arbitration"]["ramp"] = {"initial_percent": 10, "evidence": 200}
    policy = compiled(document, set_(starting={"propensity": 0.2}))

    def reached(seen: int) -> set[str]:
        usage = {"apples/reach@total": Usage(seen, 0)}
        customers = [f"c{number}" for number in range(300)]
        return {each for each in customers if not verdict(proposed(policy, models, customer_id=each, usage=usage))[1]}

    few, half, everybody = reached(0), reached(100), reached(200)
    assert few < half < everybody
    assert len(few) == pytest.approx(30, abs=20)
    assert len(half) == pytest.approx(0.55 * 300, abs=35)
    assert len(everybody) == 300


def test_a_new_action_is_scored_by_what_is_believed_of_it(document: dict[str, Any], models: Models) -> None:
    """Until a model knows an action, its propensity is what the policy starts it with; others are the model's."""
    policy = compiled(document, set_(starting={"propensity": 0.2}))
    found = {c.action: c.p for c in proposed(policy, models).record.candidates}
    assert (found["apples"], found["bread"]) == (0.2, 0.1)


def test_where_only_new_actions_are_left_no_model_is_asked(document: dict[str, Any], models: Any) -> None:
    """A customer who said no to marketing can still get what is new and needs no consent."""
    policy = compiled(document, set_(**{"class": "transactional", "starting": {"propensity": 0.2}, "purpose": None}))
    found = proposed(policy, models, placements=("home", "mail"), consents={})
    assert (verdict(found), verdict(found, "bread")[0], models.seen) == (("arbitration", ""), "consent", [])


def test_thompson_is_unsure_of_what_is_new(document: dict[str, Any], models: Models) -> None:
    """What little is known of has a chance though it looks worse; the more evidence, the smaller the chance."""
    document["arbitration"]["exploration"] = {"strategy": "thompson"}
    masses = []
    for evidence in (5, 5_000):
        policy = compiled(document, set_(starting={"propensity": 0.08, "evidence": evidence}))
        record = finished(proposed(policy, models))
        candidate = next(c for c in record.candidates if c.action == "apples")
        assert candidate.residual_var == pytest.approx(1 / (evidence * 0.08 * 0.92))
        assert sum(record.placements[0].pmf.values()) == pytest.approx(1.0)
        masses.append(record.placements[0].pmf["apples/apples_home"])
    assert masses[0] > masses[1] > 0.0


def test_actions_of_earlier_decisions_are_not_repeated(document: dict[str, Any], models: Models) -> None:
    """The decisions of the same page can be named, so that their actions are not taken again."""
    policy, contacts = compiled(document), (contact("apples", 0.1, decision_id="above"),)
    again = proposed(policy, models, options=Options(dedup_with=("above",)), contacts=contacts)
    assert verdict(again) == ("contact_policy", "in an earlier decision already")
    assert verdict(proposed(policy, models, contacts=contacts)) == ("arbitration", "")


def test_a_reduced_decision_asks_no_model(document: dict[str, Any], models: Any) -> None:
    """With little time left every action has the propensity the policy gives it, and the record says so."""
    document["arbitration"]["unscored_propensity"] = 0.03
    record = finished(proposed(compiled(document, set_(starting={"propensity": 0.2})), models, tier="reduced"))
    assert (record.tier, record.degraded, record.learning, models.seen) == ("reduced", ("deadline",), False, [])
    assert {c.action: c.p for c in record.candidates if c.p} == {
        "apples": 0.2, "bread": 0.03, "cheese": 0.03, "dates": 0.03,
    }  # fmt: skip


@pytest.mark.parametrize("tier", ["full", "reduced"])
@pytest.mark.parametrize(
    "exploration",
    [
        {"strategy": "greedy"},
        {"strategy": "epsilon", "epsilon": 0.1},
        {"strategy": "inverse_gap", "floor": 0.01},
        {"strategy": "thompson", "floor": 0.01},
    ],
    ids=lambda exploration: exploration["strategy"],
)
def test_replay_is_bit_exact_with_everything_on(
    document: dict[str, Any], models: Models, *, exploration: dict[str, Any], tier: str
) -> None:
    """Whatever the policy uses, deciding again from the record gives the identical record."""
    document["arbitration"] |= {
        "exploration": exploration,
        "ramp": {"initial_percent": 50, "evidence": 200},
    }
    document["experiments"] = {
        "control": {"percent": 10},
        "challengers": [{"id": "bold", "percent": 50, "changes": {"levers": {"bread": 300}}}],
        "rollouts": [{"id": "slowly", "percent": 50, "actions": ["cheese"]}],
        "shadows": [{"id": "other", "changes": {"exploration": {"strategy": "greedy"}}}],
    }
    document["contact_policy"]["suppressions"] = [
        {"id": "leave_me", "scope": "group", "outcome": "dismissal", "pause_days": 4}
    ]
    policy = compiled(
        document,
        set_(starting={"propensity": 0.2}, volume={"limit": 5, "per": "day"}, budget={"amount": 9, "per": "week"}),
    )
    known: dict[str, Any] = {
        "contacts": (contact("bread", 2), contact("cheese", 1, seen=False)),
        "interactions": (did("click", 1, "bread"), did("dismissal", 3, "cheese")),
        "usage": {"apples/volume@2026-03-04": Usage(2, 1)},
        "pauses": ("dates",),
    }
    stages = set()
    for number in range(40):
        ids: dict[str, Any] = {"customer_id": f"c{number}", "decision_id": f"d{number}"}
        proposal = proposed(policy, models, placements=("mail", "home"), tier=tier, **ids, **known)
        record = finished(proposal)
        stages |= {c.stage for c in record.candidates}
        assert replay(record, policy, models) == record
    assert {"experiment", "pause", "contact_policy", "reach", "arbitration"} <= stages


def test_weighting_is_unbiased_with_limits_and_control(document: dict[str, Any], models: Models) -> None:
    """With a volume that runs out half of the time, bread, always to be had, counts as once per decision."""
    document["arbitration"]["exploration"] = {"strategy": "inverse_gap", "gamma": 2.0, "floor": 0.02}
    policy = compiled(document, set_(volume={"limit": 1, "per": "day"}))
    weights = []
    for number in range(3_000):
        proposal = proposed(policy, models, decision_id=f"d{number}", options=Options(limit=1))
        usage = {"apples/volume@2026-03-04": Usage(number % 2, 0)}
        slot = settle(proposal, reserve(proposal, (), NOW, usage)[0]).placements[0].slots[0]
        weights.append(1.0 / slot.probability if slot.action == "bread" else 0.0)
    assert np.mean(weights) == pytest.approx(1.0, abs=4 * np.std(weights) / len(weights) ** 0.5)
