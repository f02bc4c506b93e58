"""Deadlines: a decision with little time left is made smaller rather than late."""

import pytest

from nextbest.records import Tier
from serving.pace import Deadline, Pace


@pytest.mark.parametrize(
    ("left_ms", "tier"),
    [(50.0, "full"), (19.0, "reduced"), (9.0, "fallback"), (-1.0, "fallback")],
)
def test_the_tier_fits_the_time_that_is_left(left_ms: float, tier: Tier) -> None:
    """Twice what a tier usually takes must be left."""
    pace = Pace()
    for _ in range(10):
        pace.note("full", 10.0)
        pace.note("reduced", 5.0)
    assert pace.tier(left_ms) == tier


def test_before_the_first_decision_all_is_tried() -> None:
    """What a tier takes is not known yet: the first decision is a full one, unless it is late already."""
    assert (Pace().tier(1.0), Pace().tier(0.0)) == ("full", "fallback")


def test_the_pace_follows_the_machine() -> None:
    """A machine that has become slow shows in the mean; one slow decision hardly does."""
    pace = Pace()
    for took_ms in [1.0] * 50 + [100.0]:
        pace.note("full", took_ms)
    assert pace.tier(13.0) == "full"
    for _ in range(50):
        pace.note("full", 100.0)
    assert pace.tier(13.0) == "reduced"


def test_a_slow_hour_passes() -> None:
    """A tier that was too slow is tried again, though every request has a budget."""
    pace = Pace()
    for tier in ("full", "reduced"):
        pace.note(tier, 400.0)
    assert [pace.tier(-1.0) for _ in range(1_000)] == ["fallback"] * 1_000
    tiers = [pace.tier(500.0) for _ in range(100)]
    assert tiers[0] == "fallback"
    assert tiers[-1] == "full"


def test_a_deadline_runs_down() -> None:
    """What is left of the budget grows less, and below nothing."""
    deadline = Deadline(10.0)
    assert 0.0 < deadline.left_ms() <= 10.0
    assert Deadline(0.001).left_s() <= 0.000_001
