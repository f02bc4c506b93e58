"""Why a slot holds what it holds, read from the record."""

from datetime import UTC, datetime

import pytest

from nextbest.reasons import reason
from nextbest.records import Candidate, DecisionRecord, PlacementRecord, SlotRecord, Tier, candidate_key

PRIORITIES = {"do_nothing": 0.0, "eggs": 0.5, "milk": 0.2}


def made(
    action: str,
    available: tuple[str, ...],
    *,
    stopped: tuple[str, ...] = (),
    degraded: str = "",
    tier: Tier = "full",
    ahead: int = 0,
) -> str:
    """The reason for `action` where `available` could be had and `stopped` were dropped for these reasons."""
    order = tuple(name for name in ("eggs", "milk", "do_nothing") if not stopped or name == "do_nothing")
    racing = [
        Candidate(placement="home", action=name, treatment="t", stage="arbitration", priority=PRIORITIES[name])
        for name in order
    ]
    dropped = [
        Candidate(placement="home", action=f"a{n}", treatment="t", stage="consent", reason=why)
        for n, why in enumerate(stopped)
    ]
    slot = SlotRecord(slot=0, action=action, treatment="t", probability=0.042)
    placement = PlacementRecord(
        id="home",
        channel="web",
        pmf={},
        order=tuple(candidate_key(name, "t") for name in order),
        available=(tuple(name in available for name in order),),
        slots=(slot,),
        ahead=ahead,
    )
    record = DecisionRecord(
        decision_id="d",
        request_id="r",
        occurred_at=datetime(2026, 3, 2, tzinfo=UTC),
        customer_id="c",
        policy_hash="p",
        tier=tier,
        degraded=(degraded,) if degraded else (),
        candidates=(*racing, *dropped),
        placements=(placement,),
    )
    return reason(record, placement, slot).text


ALL = ("eggs", "milk", "do_nothing")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (made("eggs", ALL), "highest priority of 3"),
        (made("milk", ALL), "explored: drawn with probability 0.042"),
        (made("milk", ("milk", "do_nothing")), "highest priority of 2"),
        (made("do_nothing", ALL), "explored: drawn with probability 0.042"),
        (made("do_nothing", ("do_nothing",)), "no other action is left: a cap is full"),
        (made("do_nothing", ("do_nothing",), stopped=("x: withdrawn", "y", "y")), "y (2 actions)"),
        (made("do_nothing", ALL, degraded="no_model_set", tier="fallback"), "no_model_set"),
        (made("eggs", ALL, degraded="deadline", tier="reduced"), "highest priority of 3"),
        (made("eggs", ALL, ahead=1), "mandatory: before all that is drawn"),
        (made("milk", ALL, ahead=1), "explored: drawn with probability 0.042"),
    ],
)
def test_the_reason_is_the_one_thing_that_decided(text: str, said: str) -> None:
    """The best of what was available, chance, what stopped everything, or what was not working."""
    assert text == said


def test_nothing_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Actions took part, and doing nothing was worth more."""
    monkeypatch.setitem(PRIORITIES, "do_nothing", 1.0)
    assert made("do_nothing", ALL) == "nothing earns more than it costs"
