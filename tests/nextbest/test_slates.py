"""Slots after the first: drawn against the best that is left, with the probability that this has."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from nextbest.decision import decide, settle
from nextbest.messages import Profile, Request
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import DO_NOTHING, Contact, DecisionRecord, Snapshot
from nextbest.replay import replay
from nextbest.reservations import reserve
from nextbest.situation import Models

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DECISIONS = 2_500
STRATEGIES = [
    {"strategy": "epsilon", "epsilon": 0.2},
    {"strategy": "inverse_gap", "gamma": 50.0, "floor": 0.01},
    {"strategy": "thompson", "floor": 0.02},
]


def decisions(
    document: dict[str, Any], models: Models, exploration: dict[str, Any], *placements: str, busy: bool = False
) -> list[DecisionRecord]:
    """Decisions for one customer after another; `busy` has cheese at its cap for every other, as State finds out."""
    document["arbitration"]["exploration"] = exploration
    policy = compile_policy(PolicyDocument.model_validate(document))
    snapshot, profile = Snapshot(consents={"marketing": "granted"}), Profile(features={"spend_91d": 50.0, "visits": 2})
    at = NOW - timedelta(hours=1)
    seen = Contact(
        decision_id="e", slot=0, action="cheese", group="dairy", channel="web",
        decided_at=at, expires_at=at, impressed_at=at,
    )  # fmt: skip
    made = []
    for number in range(DECISIONS):
        asked = Request(decision_id=f"d{number}", request_id="r", customer_id=f"c{number}", placements=placements)
        proposal = decide(asked, profile, policy, models, snapshot, NOW)
        known = (seen, seen) if busy and number % 2 else ()
        made.append(settle(proposal, reserve(proposal, known, NOW)[0]))
    assert replay(made[7], policy, models) == made[7]
    return made


def weights(records: list[DecisionRecord], placement: int, number: int, action: str) -> np.ndarray:
    """1 / probability where `action` fills a slot that it could have filled, 0 where another one does."""
    found = []
    for record in records:
        filled = [slot for each in record.placements for slot in each.slots]
        slots = record.placements[placement].slots
        if len(slots) > number and action not in {slot.action for slot in filled[: filled.index(slots[number])]}:
            slot = slots[number]
            found.append(1.0 / slot.probability if slot.action == action else 0.0)
    return np.array(found)


@pytest.mark.parametrize("exploration", STRATEGIES, ids=lambda each: each["strategy"])
def test_the_probability_of_every_slot_is_true(
    document: dict[str, Any], models: Models, exploration: dict[str, Any]
) -> None:
    """Weighted by 1 / probability, bread counts as once per slot it could have filled, whatever was taken or capped."""
    records = decisions(document, models, exploration, "home", "mail", busy=True)
    for placement, number in ((0, 0), (0, 1), (1, 0)):
        found = weights(records, placement, number, "bread")
        assert len(found) > 500
        assert found.mean() == pytest.approx(1.0, abs=4 * found.std() / len(found) ** 0.5), (placement, number)


@pytest.mark.parametrize("exploration", STRATEGIES[:2], ids=lambda each: each["strategy"])
def test_the_second_slot_takes_the_best_that_is_left(
    document: dict[str, Any], models: Models, exploration: dict[str, Any]
) -> None:
    """Where the best has the first slot, the second best has the next about as often as the best had the first."""
    for action, value in zip(document["actions"]["actions"], (40.0, 30.0, 3.0, 2.0), strict=True):
        action["value"] = value
    records = decisions(document, models, exploration, "home")
    firsts = Counter(record.placements[0].slots[0].action for record in records)
    after = [
        record.placements[0].slots[1].action for record in records if record.placements[0].slots[0].action == "apples"
    ]
    assert firsts["apples"] / DECISIONS == pytest.approx(after.count("bread") / len(after), abs=0.05)
    assert firsts["apples"] / DECISIONS > 0.8


def test_a_second_placement_takes_the_best_that_is_left(document: dict[str, Any], models: Models) -> None:
    """An action that another placement has taken does not leave the next one to chance."""
    for action, value in zip(document["actions"]["actions"], (40.0, 30.0, 3.0, 2.0), strict=True):
        action["value"] = value
    document["placements"]["placements"][0]["slots"] = 1
    records = decisions(document, models, STRATEGIES[1], "home", "mail")
    pairs = Counter(tuple(each.slots[0].action for each in record.placements) for record in records)
    assert pairs["apples", "bread"] / DECISIONS > 0.8
    assert all(one != other or one == DO_NOTHING for one, other in pairs)
