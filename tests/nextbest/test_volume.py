"""Tests of `nextbest.volume`."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.volume import last_day

TODAY = date(2026, 11, 25)


def _days(count: int, rows: int = 100) -> dict[date, int]:
    """Up to today, which is not over: a weekday is busier than the one before."""
    days = (TODAY - timedelta(days=back) for back in range(count))
    return {day: rows * (1 + day.weekday()) for day in days}


def test_a_day_is_compared_with_its_weekday() -> None:
    """A Tuesday that is like Tuesdays deviates by nothing, however different other days are."""
    found = last_day(_days(70))
    assert found is not None
    assert (found.day, found.rows, found.usual, found.weeks) == (TODAY - timedelta(days=1), 200, 200, 8)
    assert found.deviation == 0


@pytest.mark.parametrize(("factor", "deviation"), [(0.5, -0.5), (2, 1), (0, -1)])
def test_a_deviation_is_a_share(factor: float, deviation: float) -> None:
    """Half of the usual is -0.5, twice is 1; a day within the data without rows lost all of them."""
    days = _days(70)
    days[TODAY - timedelta(days=1)] = int(200 * factor)
    if not factor:
        del days[TODAY - timedelta(days=1)]
    found = last_day(days)
    assert found is not None
    assert found.deviation == deviation


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_too_little_history_is_compared_with_nothing(count: int) -> None:
    """Four weeks before, and the first day does not count: it may have begun before the data."""
    assert last_day(_days(count)) is None
    assert last_day(_days(31)) is not None


def test_a_weekday_that_is_closed_is_compared_with_nothing() -> None:
    """A shop that never opens on Tuesdays may open on one."""
    days = {day: rows for day, rows in _days(70).items() if day.weekday() != 1}
    assert last_day(days | {TODAY - timedelta(days=1): 7}) is None


@given(st.integers(1, 1_000), st.integers(31, 100))
def test_twice_as_many_rows_every_day_deviate_as_much(times: int, count: int) -> None:
    """The size of a shop makes no difference."""
    days = _days(count)
    days[TODAY - timedelta(days=1)] = 137
    one, many = last_day(days), last_day({day: rows * times for day, rows in days.items()})
    assert one is not None
    assert many is not None
    assert one.deviation == pytest.approx(many.deviation)
