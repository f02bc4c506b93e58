"""Screening: what stops an action, in which stage and in which words."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nextbest.messages import Profile
from nextbest.records import DO_NOTHING, Options, Usage
from nextbest.reservations import reserve

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)


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
def test_schedule(trial: Any, *, fields: dict[str, Any], now: datetime, expected: tuple[str, str]) -> None:
    """An action is proposed from its first day to the end of its last, or between two moments."""
    assert trial.verdict(trial.proposed(trial.policy(**fields), now=now)) == expected


def test_days_are_of_the_policys_zone(document: dict[str, Any], trial: Any) -> None:
    """The first day begins when it begins where the policy is at home."""
    document["contact_policy"]["time_zone"] = {"default": "America/New_York"}
    policy = trial.policy(start="2026-03-04")
    assert trial.verdict(trial.proposed(policy, now=NOW - HOUR)) == ("schedule", "starts 2026-03-04 05:00 UTC")
    assert trial.verdict(trial.proposed(policy)) == ("arbitration", "")


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
    trial: Any, *, fields: dict[str, Any], usage: dict[str, Usage], expected: str
) -> None:
    """What was seen and what is reserved, plus this contact (0.10 USD), must stay within volume and budget."""
    policy = trial.policy(**fields)
    assert trial.verdict(trial.proposed(policy, usage=usage))[1] == expected


@pytest.mark.parametrize(
    ("event", "contacts", "clicks", "allowed"),
    [
        ("impression", [], [], False),
        ("impression", [("bread", 10, True)], [], True),
        ("impression", [("bread", 10, False)], [], False),
        ("impression", [("bread", 30, True)], [], False),
        ("decision", [("bread", 10, False)], [], True),
        ("click", [], ["bread"], True),
        ("click", [], ["cheese"], False),
    ],
)
def test_sequences(
    trial: Any, *, event: str, contacts: list[tuple[str, float, bool]], clicks: list[str], allowed: bool
) -> None:
    """An action that follows another waits for it; one that it excludes stands back for it, on every channel."""
    known: dict[str, Any] = {
        "contacts": tuple(trial.contact(name, hours, seen=seen) for name, hours, seen in contacts),
        "interactions": tuple(trial.did("click", 2, name) for name in clicks),
    }
    step = {"action": "bread", "event": event, "within_hours": 24}
    following = trial.proposed(trial.policy(follows=[step]), placements=("mail",), **known)
    assert (trial.verdict(following)[1] == "") is allowed
    assert allowed or trial.verdict(following)[1] == f"follows bread: no {event} in 24 h"
    excluded = trial.proposed(trial.policy(follows=[], excluded_by=[step]), placements=("mail",), **known)
    assert (trial.verdict(excluded)[1] == "") is not allowed
    assert not allowed or trial.verdict(excluded)[1] == "excluded_by bread: 1 of 1"


def test_an_exclusion_holds_in_the_atomic_step(trial: Any) -> None:
    """What was decided for the customer meanwhile stands in the way, as a cap does."""
    step = {"action": "bread", "event": "decision", "within_hours": 24}
    proposal = trial.proposed(trial.policy(excluded_by=[step]))
    grant, _ = reserve(proposal, [trial.contact("bread", 0.01, seen=False)], NOW)
    order = [option.action for option in proposal.placements[0].order]
    assert not grant.placements["home"][0].available[order.index("apples")]


@pytest.mark.parametrize(
    ("dismissals", "until"),
    [
        ([(1, "apples")], ""),
        ([(50, "apples"), (1, "apples")], ""),
        ([(20, "apples"), (1, "apples")], "2026-03-08 04:06"),
        ([(90, "apples"), (80, "apples")], "2026-03-04 21:06"),
        ([(120, "apples"), (110, "apples")], ""),
        ([(20, "bread"), (1, "apples")], ""),
    ],
)
def test_suppression(document: dict[str, Any], trial: Any, *, dismissals: list[tuple[float, str]], until: str) -> None:
    """Two dismissals in a day pause the action for four days from the second, and no other action."""
    document["contact_policy"]["suppressions"] = [
        {"id": "leave_me", "scope": "action", "outcome": "dismissal", "count": 2, "within_days": 1, "pause_days": 4}
    ]
    found = trial.proposed(trial.policy(), interactions=tuple(trial.did("dismissal", *each) for each in dismissals))
    assert trial.verdict(found)[1] == (f"leave_me: until {until} UTC" if until else "")
    assert trial.verdict(found, "cheese")[1] == ""


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
    document: dict[str, Any], trial: Any, *, scope: str, only: list[str], stopped: set[str]
) -> None:
    """A pause holds for everything in the scope that the answer was about."""
    document["contact_policy"]["suppressions"] = [
        {"id": "leave_me", "scope": scope, "only": only, "outcome": "complaint", "pause_days": 4}
    ]
    found = trial.proposed(trial.policy(), interactions=(trial.did("complaint", 1, "apples", "web"),))
    assert {c.action for c in found.record.candidates if c.reason.startswith("leave_me")} == stopped


def test_a_cap_on_another_event(document: dict[str, Any], trial: Any) -> None:
    """Whatever the events contract knows can be counted: who clicked twice in a day is not asked again that day."""
    document["contact_policy"]["rules"].append(
        {"id": "clicks", "scope": "action", "count": "click", "limit": 2, "window_hours": 24}
    )
    clicks = (
        trial.did("click", 2, "apples"),
        trial.did("click", 1, "apples"),
        trial.did("click", 1, "bread"),
        trial.did("click", 30, "bread"),
    )
    found = trial.proposed(trial.policy(), interactions=clicks)
    assert (trial.verdict(found)[1], trial.verdict(found, "bread")[1]) == ("clicks: 2 of 2", "")


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
    document: dict[str, Any], trial: Any, *, hours: tuple[str, str], zone: str | None, is_quiet: bool
) -> None:
    """A channel rests by the customer's clock; where that is not known, by the policy's."""
    document["placements"]["channels"][1]["quiet_hours"] = {"start": hours[0], "end": hours[1]}
    document["contact_policy"]["time_zone"] = {"feature": "zone", "default": "UTC"}
    document["features"]["features"].append({"name": "zone", "kind": "text", "description": "time zone"})
    features: dict[str, Any] = {"spend_91d": 50.0, "visits": 2.0, **({"zone": zone} if zone else {})}
    found = trial.proposed(trial.policy(), placements=("mail",), profile=Profile(features=features))
    assert ("quiet hours of email" in trial.verdict(found)[1]) is is_quiet
    document["actions"]["actions"][0]["class"] = "transactional"
    again = trial.proposed(trial.policy(), placements=("mail",), profile=Profile(features=features))
    assert trial.verdict(again)[1] == ""


def test_the_universal_control_gets_nothing_that_was_chosen(document: dict[str, Any], trial: Any) -> None:
    """In the control only mandatory and transactional actions are left, and nobody learns from it."""
    document["experiments"] = {"control": {"percent": 50}}
    policy = trial.policy(**{"class": "transactional"})
    records = [trial.finished(trial.proposed(policy, customer_id=f"c{number}")) for number in range(40)]
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


def test_rollout(document: dict[str, Any], trial: Any) -> None:
    """An action on its way to everybody is kept from those who are not in."""
    document["experiments"] = {"rollouts": [{"id": "slowly", "percent": 50, "actions": ["apples"]}]}
    policy = trial.policy()
    found = {trial.verdict(trial.proposed(policy, customer_id=f"c{number}")) for number in range(20)}
    assert found == {("arbitration", ""), ("experiment", "slowly: not rolled out to this customer")}


def test_a_new_action_reaches_more_with_its_impressions(document: dict[str, Any], trial: Any) -> None:
    """It starts with a tenth of the customers, always the same ones, and has all of them with its evidence."""
    document["arbitration"]["ramp"] = {"initial_percent": 10, "evidence": 200}
    policy = trial.policy(starting={"propensity": 0.2})

    def reached(seen: int) -> set[str]:
        usage = {"apples/reach@total": Usage(seen, 0)}
        customers = [f"c{number}" for number in range(300)]
        return {
            each for each in customers if not trial.verdict(trial.proposed(policy, customer_id=each, usage=usage))[1]
        }

    few, half, everybody = reached(0), reached(100), reached(200)
    assert few < half < everybody
    assert len(few) == pytest.approx(30, abs=20)
    assert len(half) == pytest.approx(0.55 * 300, abs=35)
    assert len(everybody) == 300


def test_actions_of_earlier_decisions_are_not_repeated(trial: Any) -> None:
    """The decisions of the same page can be named, so that their actions are not taken again."""
    policy, contacts = trial.policy(), (trial.contact("apples", 0.1, decision_id="above"),)
    again = trial.proposed(policy, options=Options(dedup_with=("above",)), contacts=contacts)
    assert trial.verdict(again) == ("contact_policy", "in an earlier decision already")
    assert trial.verdict(trial.proposed(policy, contacts=contacts)) == ("arbitration", "")
