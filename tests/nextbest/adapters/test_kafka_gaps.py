"""A gap between offsets is waited for as long as it may yet be filled, and no longer."""

from nextbest.adapters.kafka_gaps import Gaps


def test_what_comes_before_a_gap_is_sure_at_once() -> None:
    gaps = Gaps()
    assert gaps.sure(0, 5, [5, 6, 9, 10], 11, 0.0) == 2
    assert gaps.sure(1, 0, [0, 1], 2, 0.0) == 2
    assert gaps.sure(0, 7, [7, 8, 9, 10], 11, 0.1) == 4


def test_a_gap_that_stays_is_one_that_nothing_fills() -> None:
    gaps = Gaps()
    assert gaps.sure(0, 5, [7], 20, 0.0) == 0
    assert gaps.sure(0, 5, [7], 20, 0.9) == 0
    assert gaps.sure(0, 5, [7], 20, 1.0) == 1


def test_what_lay_before_the_end_when_a_gap_was_seen_is_not_waited_for_again() -> None:
    """A compacted topic costs one wait, not one for each of its gaps."""
    gaps = Gaps()
    gaps.sure(0, 0, [3], 20, 0.0)
    assert gaps.sure(0, 0, [3, 7, 19], 30, 1.0) == 3
    assert gaps.sure(0, 20, [20, 25], 30, 1.0) == 1


def test_each_gap_has_its_own_second() -> None:
    """The one that is filled says nothing of the one after it; nor does one partition of another."""
    gaps = Gaps()
    assert gaps.sure(0, 0, [2], 3, 0.0) == 0
    assert gaps.sure(0, 0, [0, 1, 2, 4], 5, 0.9) == 3
    assert gaps.sure(0, 3, [4], 5, 1.5) == 0
    assert gaps.sure(1, 3, [4], 5, 1.5) == 0
    assert gaps.sure(0, 3, [4], 5, 2.0) == 1
