"""Why not: what is named is enough, and no less would be. Changes are made again in the files and decided anew."""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nextbest.counterfactual import Change
from nextbest.decision import decide, settle
from nextbest.messages import Profile, Request
from nextbest.policy import Policy
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import Attribute, Contact, DecisionRecord, Interaction, Options, Signal, Snapshot, Usage
from nextbest.replay import ReplayError
from nextbest.reservations import reserve
from nextbest.situation import Models
from nextbest.why_not import WhyNot, WhyNotError, why_not

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)
GRANTED = Snapshot(consents={"marketing": "granted"})
EMAIL, WEB = 1, 0


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything a decision is made from, as files and State would have it."""

    document: dict[str, Any]
    features: dict[str, Attribute] = field(default_factory=lambda: {"spend_91d": 50.0, "visits": 2.0})
    context: dict[str, Attribute] = field(default_factory=dict)
    snapshot: Snapshot = GRANTED
    options: Options = Options()
    placements: tuple[str, ...] = ("home",)

    @property
    def policy(self) -> Policy:
        return compile_policy(PolicyDocument.model_validate(self.document))

    def decide(self, models: Models | None, decision_id: str = "d1") -> DecisionRecord:
        request = Request(
            decision_id=decision_id,
            request_id="r1",
            customer_id="c1",
            placements=self.placements,
            context=self.context,
            options=self.options,
        )
        profile = Profile(features=dict(self.features))
        proposal = decide(request, profile, self.policy, models, self.snapshot, NOW)
        grant, _ = reserve(proposal, self.snapshot.contacts, NOW, self.snapshot.usage)
        return settle(proposal, grant)

    def why_not(self, models: Models | None, action: str, placement: str | None = None) -> WhyNot:
        return why_not(self.decide(models), self.policy, models, action, placement)

    def changed(self, asked: str, *changes: Change) -> "Case":
        """With the changes that were named for the action asked about."""
        case = self
        for change in changes:
            case = _changed(case, asked, change)
        return case

    def first(self, models: Models | None, placement: str) -> str:
        """The first choice by priority, read off the record anew: mandatory ones come before all others."""
        classes = {action["id"]: action.get("class") == "mandatory" for action in self.document["actions"]["actions"]}
        taking_part = [
            each
            for each in self.decide(models).candidates
            if (each.placement, each.stage) == (placement, "arbitration") and each.priority is not None
        ]
        return max(taking_part, key=lambda each: (classes.get(each.action, False), each.priority)).action


def _contact(action: str = "apples", hours_ago: float = 1.0) -> Contact:
    at = NOW - hours_ago * HOUR
    return Contact(
        decision_id="earlier",
        slot=0,
        action=action,
        group="food",
        channel="web",
        decided_at=at,
        expires_at=at + HOUR / 2,
        impressed_at=at,
    )


def _stock(action: str, value: float) -> Signal:
    return Signal(signal="stock", key=action, value=value, at=NOW - HOUR)


def _changed(case: Case, asked: str, change: Change) -> Case:
    """The case with one change, made where people would make it: in State and the request, or in the files."""
    snapshot, given = case.snapshot, {change.subject: change.after}
    match change.kind:
        case "consent":
            snapshot = msgspec.structs.replace(snapshot, consents=snapshot.consents | given)
        case "pause":
            pauses = tuple(each for each in snapshot.pauses if each != change.subject)
            snapshot = msgspec.structs.replace(snapshot, pauses=pauses)
        case "reach":
            usage = {**snapshot.usage, f"{change.subject}/reach@total": Usage(seen=int(change.after or 0))}
            snapshot = msgspec.structs.replace(snapshot, usage=usage)
        case "stock":
            said = {each.key: each for each in snapshot.signals}
            said[change.subject] = msgspec.structs.replace(said[change.subject], value=float(change.after or 0.0))
            snapshot = msgspec.structs.replace(snapshot, signals=tuple(said.values()))
        case "dedup":
            return replace(case, options=Options())
        case "feature":
            place = "context" if change.subject == "weather" else "features"
            return replace(case, **{place: getattr(case, place) | given})
    document = deepcopy(case.document)
    for action in document["actions"]["actions"]:
        if action["id"] == asked:
            _change_action(action, change)
    _change_policy(document, change)
    return replace(case, document=document, snapshot=snapshot)


def _change_action(action: dict[str, Any], change: Change) -> None:
    match change.kind:
        case "start" | "end" | "lever" | "value" | "cost" | "class":
            action[change.kind] = change.after
        case "limit":
            kind, name = ("volume", "limit") if change.subject.endswith("/volume") else ("budget", "amount")
            action[kind][name] = change.after
        case "rule":
            for tier in ("eligibility", "applicability", "suitability"):
                action[tier] = [rule for rule in action.get(tier, []) if rule != change.subject]
        case "sequence" | "exclusion":
            name = "follows" if change.kind == "sequence" else "excluded_by"
            action[name] = [each for each in action.get(name, []) if each["action"] != change.subject]


def _change_policy(document: dict[str, Any], change: Change) -> None:
    contact_policy, experiments = document["contact_policy"], document.get("experiments", {})
    match change.kind:
        case "experiment":
            del experiments["control"]
        case "rollout":
            next(each for each in experiments["rollouts"] if each["id"] == change.subject)["percent"] = change.after
        case "cap":
            next(each for each in contact_policy["rules"] if each["id"] == change.subject)["limit"] = change.after
        case "suppression":
            kept = [each for each in contact_policy["suppressions"] if each["id"] != change.subject]
            contact_policy["suppressions"] = kept
        case "quiet_hours":
            channels = document["placements"]["channels"]
            next(each for each in channels if each["id"] == change.subject).pop("quiet_hours")
        case "threshold":
            document["arbitration"]["do_nothing_threshold"] = change.after


def test_stops_are_lifted_one_after_the_other(document: dict[str, Any], models: Models) -> None:
    """All that is needed is named in the order of the engine; a feature that two rules want changes once."""
    document["actions"]["actions"][3]["eligibility"] = ["visits > 3.0", "spend_91d >= 60.0", "visits > 4.0"]
    case = Case(document=document, snapshot=Snapshot(pauses=("dates",)))
    answer = case.why_not(models, "dates")
    assert [step.kind for step in answer.steps] == ["consent", "pause", "feature", "feature", "lever"]
    assert [(step.subject, step.before) for step in answer.steps[2:4]] == [("visits", 2.0), ("spend_91d", 50.0)]
    assert "visits 2.0 → above 4.0" in answer.text
    assert case.changed("dates", *answer.steps).first(models, "home") == "dates"


def test_what_is_mandatory_comes_first(document: dict[str, Any], models: Models) -> None:
    """No priority beats it: an action must be mandatory too, and nothing cannot be."""
    document["actions"]["actions"][1]["class"] = "mandatory"
    case = Case(document=document, options=Options(limit=1))
    answer = case.why_not(models, "dates")
    assert [step.kind for step in answer.steps] == ["class", "lever"]
    assert case.changed("dates", *answer.steps).first(models, "home") == "dates"
    assert case.changed("dates", answer.steps[1]).first(models, "home") == "bread"
    nothing = case.why_not(models, "do_nothing")
    assert (nothing.verdict, nothing.steps) == ("cannot", ())
    assert "bread is mandatory" in nothing.text


def test_what_nothing_can_help_says_so(document: dict[str, Any], models: Models) -> None:
    """Without a say in the formula no number of the action helps; an amount that fails cannot be lifted."""
    document["arbitration"]["formula"] = "-spend_91d"
    answer = Case(document=document).why_not(models, "dates")
    assert answer.verdict == "cannot"
    assert "no change of one number alone makes it first" in answer.text
    document["arbitration"]["formula"] = "propensity"
    document["actions"]["actions"][3]["cost"] = "-1.0"
    answer = Case(document=document, snapshot=Snapshot()).why_not(models, "dates")
    assert (answer.verdict, [step.kind for step in answer.steps]) == ("cannot", ["consent"])
    assert "stopped at score: failed: a cost of -1 is below 0" in answer.text


def test_the_first_choice_may_lose_the_draw(document: dict[str, Any], models: Models) -> None:
    """Then nothing has to change: chance took another, and the probability of that is said."""
    document["placements"]["placements"][0]["slots"] = 1
    case = Case(document=document)
    records = (case.decide(models, f"d{number}") for number in range(100))
    lost = next(record for record in records if record.placements[0].slots[0].action != "apples")
    answer = why_not(lost, case.policy, models, "apples")
    slot = lost.placements[0].slots[0]
    assert (answer.verdict, answer.fills, answer.steps) == ("won", False, ())
    assert f"the draw gave {slot.action}, with probability {slot.probability:.3g} against its 0.84" in answer.text
    taken = why_not(lost, case.policy, models, slot.action)
    assert (taken.verdict, taken.fills) == ("won", True)
    assert taken.text.startswith(f"{slot.action} fills slot 0 of home")


def test_the_first_choice_may_have_been_taken_meanwhile(document: dict[str, Any], models: Models) -> None:
    """A cap that another decision filled between proposal and grant is not the policy's doing."""
    case = Case(document=document, options=Options(limit=1))
    record = case.decide(models)
    (place,) = record.placements
    mask = tuple(key != "apples/apples_home" for key in place.order)
    other = next(key for key in place.order if key != "apples/apples_home")
    slot = msgspec.structs.replace(place.slots[0], action=other.partition("/")[0], treatment="x")
    place = msgspec.structs.replace(place, available=(mask,), slots=(slot,))
    answer = why_not(msgspec.structs.replace(record, placements=(place,)), case.policy, models, "apples")
    assert (answer.verdict, answer.fills) == ("won", False)
    assert "could not be had any more when the slot was filled" in answer.text


def test_the_draw_with_the_changes_is_said(document: dict[str, Any], models: Models) -> None:
    """The answer tells whether this draw, which is kept, would have shown the action."""
    document["arbitration"]["exploration"] = {"strategy": "greedy"}
    answer = Case(document=document).why_not(models, "dates")
    assert answer.fills
    assert answer.text.endswith("This very draw would then have given it a slot.")


def test_of_several_placements_the_one_with_the_least_to_change(document: dict[str, Any], models: Models) -> None:
    """A placement may be asked for, too."""
    case = Case(
        document=document,
        placements=("mail", "home"),
        snapshot=Snapshot(consents={"marketing": "granted", "mailing": "withdrawn"}),
    )
    assert case.why_not(models, "dates").placement == "home"
    answer = case.why_not(models, "dates", "mail")
    assert [step.kind for step in answer.steps] == ["consent", "lever"]
    assert case.changed("dates", *answer.steps).first(models, "mail") == "dates"


def test_a_challenger_is_asked_under_its_own_numbers(document: dict[str, Any], models: Models) -> None:
    """The policy that decided for the customer is the one that is explained."""
    document["experiments"] = {"challengers": [{"id": "bold", "percent": 100, "changes": {"levers": {"dates": 200}}}]}
    answer = Case(document=document).why_not(models, "dates")
    assert "under the challenger bold" in answer.text
    assert [(step.kind, step.before) for step in answer.steps] == [("lever", 200.0)]


@pytest.mark.parametrize(
    ("action", "placement", "complaint"),
    [
        ("appels", None, "has no action appels; did you mean 'apples'"),
        ("apples", "attic", "is not about placement attic: it is about home"),
        ("letters", None, "letters has no treatment in home, only in mail"),
    ],
)
def test_questions_without_an_answer(
    document: dict[str, Any], models: Models, *, action: str, placement: str | None, complaint: str
) -> None:
    """What the decision never had to do with is said, with what there is."""
    letters = deepcopy(document["actions"]["actions"][0]) | {"id": "letters"}
    letters["treatments"] = letters["treatments"][1:]
    document["actions"]["actions"].append(letters)
    with pytest.raises(WhyNotError, match=complaint):
        Case(document=document).why_not(models, action, placement)


def test_a_fallback_and_another_policy_have_no_answer(document: dict[str, Any], models: Models) -> None:
    """Nothing was considered; or the answer would be about something else."""
    case = Case(document=document)
    with pytest.raises(WhyNotError, match=r"is a fallback \(no_model_set\)"):
        case.why_not(None, "apples")
    with pytest.raises(ReplayError, match="was made with policy"):
        why_not(case.decide(models), replace(case.policy, hash="another"), models, "apples")


RULES = ["spend_91d > 80.0", "visits >= 3.0", "weather == 'sun'", "spend_91d > 20.0 && visits > 1.0", "visits < 2.0"]
EVENTS = st.fixed_dictionaries({"action": st.just("bread"), "within_hours": st.integers(1, 72)})
EXPERIMENTS: dict[str, Any] = {
    "control": {"percent": 50},
    "rollouts": [{"id": "soft", "percent": 30, "actions": ["apples", "dates"]}],
}
TIRED = {"id": "tired", "scope": "all", "outcome": "dismissal", "within_days": 2, "pause_days": 2}
ACTIONS = st.fixed_dictionaries(
    {"value": st.floats(0.1, 20.0), "lever": st.floats(1.0, 300.0), "cost": st.floats(0.0, 1.0)},
    optional={
        "class": st.sampled_from(["standard", "transactional", "mandatory"]),
        "eligibility": st.lists(st.sampled_from(RULES), max_size=2, unique=True),
        "suitability": st.lists(st.sampled_from(RULES), max_size=2, unique=True),
        "start": st.sampled_from(["2026-03-01", "2026-03-10"]),
        "end": st.sampled_from(["2026-03-02", "2026-03-09"]),
        "follows": st.lists(EVENTS, max_size=1),
        "excluded_by": st.lists(EVENTS, max_size=1),
        "volume": st.fixed_dictionaries({"limit": st.integers(1, 3), "per": st.just("total")}),
        "budget": st.fixed_dictionaries({"amount": st.floats(0.1, 2.0), "per": st.just("total")}),
        "starting": st.just({"propensity": 0.2}),
        "stock": st.just({"at_least": 2}),
    },
)
ARBITRATION = st.fixed_dictionaries(
    {
        "exploration": st.sampled_from([{"strategy": "greedy"}, {"strategy": "inverse_gap", "floor": 0.01}]),
        "formula": st.sampled_from([{}, {"use_cost": False}, "propensity * value * lever - cost"]),
        "do_nothing_threshold": st.floats(-0.5, 2.0),
        "ramp": st.none() | st.just({"initial_percent": 1, "evidence": 50}),
    }
)
SNAPSHOTS = st.builds(
    Snapshot,
    consents=st.dictionaries(st.sampled_from(["marketing", "mailing"]), st.sampled_from(["granted", "withdrawn"])),
    contacts=st.lists(
        st.builds(_contact, st.sampled_from(["apples", "bread", "dates"]), st.sampled_from([0.5, 2.0, 80.0])),
        max_size=4,
    ).map(tuple),
    interactions=st.lists(
        st.builds(Interaction, kind=st.just("dismissal"), at=st.just(NOW - HOUR), action=st.just("dates")), max_size=1
    ).map(tuple),
    pauses=st.lists(st.sampled_from(["apples", "dates"]), max_size=2).map(tuple),
    signals=st.lists(
        st.builds(_stock, st.sampled_from(["apples", "dates"]), st.floats(0.0, 4.0)), unique_by=lambda each: each.key
    ).map(tuple),
    usage=st.dictionaries(
        st.sampled_from(["apples/volume@total", "dates/budget@total", "dates/volume@total"]),
        st.builds(Usage, st.integers(0, 2_000_000), st.integers(0, 3)),
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    actions=st.lists(ACTIONS, min_size=4, max_size=4),
    arbitration=ARBITRATION,
    experiments=st.none() | st.just(EXPERIMENTS),
    policy=st.fixed_dictionaries({"suppressions": st.sampled_from([[], [TIRED]]), "binds": st.just(["standard"])}),
    channel=st.sampled_from([{}, {"quiet_hours": {"start": "21:00", "end": "08:00"}, "cost": 0.01}]),
    snapshot=SNAPSHOTS,
    features=st.fixed_dictionaries({"spend_91d": st.floats(0.0, 100.0), "visits": st.floats(0.0, 5.0)}),
    dedup_with=st.sampled_from([(), ("earlier",)]),
    action=st.sampled_from(["apples", "bread", "cheese", "dates", "do_nothing"]),
)
def test_what_is_named_is_enough_and_no_less_would_be(
    document: dict[str, Any],
    models: Models,
    *,
    actions: list[dict[str, Any]],
    arbitration: dict[str, Any],
    experiments: dict[str, Any] | None,
    policy: dict[str, Any],
    channel: dict[str, Any],
    snapshot: Snapshot,
    features: dict[str, Attribute],
    dedup_with: tuple[str, ...],
    action: str,
) -> None:
    """Whatever stops or beats an action: with the changes made in the files and in State it is the first choice.

    Where only the lever changes, 99.9 % of that change is too little; and each alternative does in place of the last.
    """
    edited = deepcopy(document)
    written = zip(edited["actions"]["actions"], actions, strict=True)
    edited["actions"]["actions"] = [each | fields for each, fields in written]
    edited["arbitration"] |= arbitration
    edited["contact_policy"] |= policy
    edited["placements"]["channels"][0] |= channel
    if experiments:
        edited["experiments"] = experiments
    case = Case(document=edited, snapshot=snapshot, features=features, options=Options(dedup_with=dedup_with))
    answer = case.why_not(models, action)
    if answer.verdict == "won":
        assert answer.fills or case.first(models, "home") == action
        return
    assert case.first(models, "home") != action
    if answer.verdict == "cannot":
        assert "cannot become the first choice" in answer.text
        return
    *before, last = answer.steps
    for change in (last, *answer.alternatives):
        if change.kind != "propensity":
            assert case.changed(action, *before, change).first(models, "home") == action
    if last.kind == "lever":
        assert isinstance(last.before, float)
        assert isinstance(last.after, float)
        assume(abs(last.after - last.before) > 1e-4 * last.before)  # of equals a hair more is the least there is
        less = msgspec.structs.replace(last, after=last.before + 0.999 * (last.after - last.before))
        assert case.changed(action, *before, less).first(models, "home") != action
