"""Tests of `nextbest.drift`."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.drift import Profile, counts, profile, stability_index

ROWS = st.lists(st.integers(0, 10_000), min_size=2, max_size=25)


def _column(values: Sequence[object], kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


@given(ROWS, st.integers(1, 1_000))
def test_the_same_distribution_has_no_index(rows: list[int], times: int) -> None:
    """Counted over itself it is 0; over a multiple it is nearly 0: only the half row added to a bin differs."""
    assert stability_index(rows, rows) == 0
    if min(rows) > 50:
        assert stability_index(rows, [each * times for each in rows]) < 0.01


@given(
    st.integers(2, 25).flatmap(
        lambda bins: st.tuples(*[st.lists(st.integers(0, 9_999), min_size=bins, max_size=bins)] * 2)
    )
)
def test_an_index_is_positive_finite_and_the_same_both_ways(sides: tuple[list[int], list[int]]) -> None:
    """Whatever the bins hold, empty ones included."""
    index = stability_index(*sides)
    assert 0 <= index < np.inf
    assert index == pytest.approx(stability_index(sides[1], sides[0]))


def test_the_index_is_the_formula() -> None:
    """Two bins of 5000 and 5000 that become 7000 and 3000: 0.2 ln 1.4 - 0.2 ln 0.6."""
    expected = 0.2 * np.log(1.4) - 0.2 * np.log(0.6)
    assert stability_index([5_000, 5_000], [7_000, 3_000]) == pytest.approx(expected, abs=1e-4)


@given(
    st.lists(st.none() | st.floats(allow_infinity=False), max_size=200), st.lists(st.none() | st.floats(), max_size=50)
)
def test_every_number_falls_into_one_bin(reference: list[float | None], current: list[float | None]) -> None:
    """Nothing is counted twice or lost, and what is not a number is in the last bin."""
    known = profile(_column(list(reference), pa.float64()))
    assert known is not None
    assert known.rows == len(reference)
    found = counts(known, _column(list(current), pa.float64()))
    assert (len(found), sum(found)) == (len(known.counts), len(current))
    assert found[-1] == sum(value is None or np.isnan(value) for value in current)


@given(
    st.lists(st.none() | st.sampled_from("abcdef"), max_size=200),
    st.lists(st.none() | st.text(max_size=2), max_size=50),
)
def test_every_text_falls_into_one_bin(reference: list[str | None], current: list[str | None]) -> None:
    """A value nobody has seen is in the bin of the others."""
    known = profile(_column(list(reference), pa.string()))
    assert known is not None
    assert known.values is not None
    found = counts(known, _column(list(current), pa.string()))
    assert sum(found) == len(current)
    assert found[-1] == current.count(None)
    assert found[-2] == sum(value is not None and value not in known.values for value in current)


def test_a_column_of_one_value_has_two_bins() -> None:
    """Nine tenths of a discount are 0: what is above is seen, though every decile is the same."""
    discounts = _column([0.0] * 95 + [1.0] * 5, pa.float64())
    assert profile(discounts) == Profile((95, 5, 0), edges=(0.0,))


def test_truth_values_are_counted_by_value() -> None:
    """As text, in the order of how frequent they are."""
    assert profile(_column([True, True, False, None], pa.bool_())) == Profile((2, 1, 0, 1), values=("true", "false"))


def test_free_text_has_no_profile() -> None:
    """Another value in most rows is a name, not a category."""
    assert profile(_column([f"n{row}" for row in range(100)], pa.string())) is None


def test_a_shift_is_seen_in_numbers_and_in_values() -> None:
    """A price a third up and a brand twice as frequent are beyond 0.1; a new draw of the same is far below."""
    random = np.random.default_rng(0)
    was, again = (pa.chunked_array([random.lognormal(1, 0.5, 20_000)]) for _ in range(2))
    known = profile(was)
    assert known is not None
    dearer = pa.chunked_array([again.to_numpy() * 1.34])
    assert stability_index(known.counts, counts(known, again)) < 0.01
    assert stability_index(known.counts, counts(known, dearer)) > 0.1
