"""Where two records differ: every bit, under names people know."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from nextbest.records import Candidate, DecisionRecord, PlacementRecord, SlotRecord
from nextbest.replay import Difference, differences

SLOT = SlotRecord(slot=0, action="apples", treatment="a", probability=0.5)
RECORD = DecisionRecord(
    decision_id="d1",
    request_id="r1",
    occurred_at=datetime(2026, 3, 4, tzinfo=UTC),
    customer_id="c1",
    policy_hash="p",
    code_version="0.1.0",
    features={"spend_91d": 0.0},
    candidates=(Candidate("home", "apples", "a", "arbitration", priority=1.0),),
    placements=(PlacementRecord(id="home", channel="web", pmf={"apples/a": 1.0}, order=("apples/a",), slots=(SLOT,)),),
)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"tier": "reduced"}, Difference("tier", "full", "reduced")),
        ({"features": {"spend_91d": -0.0}}, Difference("features.spend_91d", 0.0, -0.0)),
        ({"features": {"spend_91d": 0}}, Difference("features.spend_91d", 0.0, 0)),
        ({"features": {}}, Difference("features.spend_91d", 0.0, None)),
        ({"degraded": ("deadline",)}, Difference("degraded[0]", None, "deadline")),
        (
            {"candidates": (Candidate("home", "apples", "a", "arbitration", priority=1.0000000000000002),)},
            Difference("candidates[home/apples/a].priority", 1.0, 1.0000000000000002),
        ),
        (
            {"placements": (msgspec.structs.replace(RECORD.placements[0], slots=()),)},
            Difference(
                "placements[home].slots[apples/a]",
                {"slot": 0, "action": "apples", "treatment": "a", "probability": 0.5},
                None,
            ),
        ),
    ],
)
def test_one_difference_is_one(changes: dict[str, Any], difference: Difference) -> None:
    """Down to the last bit and the sign of nothing, each at its place."""
    (found,) = differences(RECORD, msgspec.structs.replace(RECORD, **changes))
    assert str(found) == str(difference)  # as text, for 0.0 equals -0.0


def test_who_decided_is_no_difference() -> None:
    """The same answer of another version of the code is the same."""
    assert differences(RECORD, RECORD) == []
    assert differences(RECORD, msgspec.structs.replace(RECORD, code_version="0.2.0")) == []
