import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextbest.casting import can_hold, cast

TIME = pa.timestamp("us", tz="UTC")
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def _cast(values: pa.Array, target: pa.DataType) -> tuple[list[Any], list[bool]]:
    result, lost = cast(pa.chunked_array([values]), target)
    lost = pa.array([False] * len(values)) if lost is None else lost
    assert result.type == target
    return result.to_pylist(), lost.to_pylist()


@pytest.mark.parametrize(
    ("values", "target", "expected"),
    [
        (pa.array([7]), pa.string(), ["7"]),
        (pa.array([7.0, None]), pa.int64(), [7, None]),
        (pa.array([Decimal("1.25")]), pa.float64(), [1.25]),
        (pa.array(["true", "0"]), pa.bool_(), [True, False]),
        (pa.array(["2026-01-01T12:00:00Z", "2026-01-01 13:00+01:00"]), TIME, [NOON, NOON]),
        (pa.array(["2026-01-01T12:00:00"]), TIME, [NOON]),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")), TIME, [NOON]),
        (pa.array(['["a","b"]', None]), pa.list_(pa.string()), [["a", "b"], None]),
        (pa.array(["a", "a"]).dictionary_encode(), pa.string(), ["a", "a"]),
        (pa.nulls(2), pa.int64(), [None, None]),
    ],
)
def test_keeps_what_the_type_can_hold(values: pa.Array, target: pa.DataType, expected: list[Any]) -> None:
    """A delivery's types may differ from the contract's as long as each value survives; no zone means UTC."""
    assert _cast(values, target) == (expected, [False] * len(expected))


@pytest.mark.parametrize(
    ("values", "target"),
    [
        (pa.array([1.5, 2.0]), pa.int64()),
        (pa.array([2**53 + 1, 2]), pa.float64()),
        (pa.array([1e30, 2.0]), pa.int64()),
        (pa.array([float("nan"), 2.0]), pa.float64()),
        (pa.array([float("inf"), 2.0]), pa.float64()),
        (pa.array(["two", "2"]), pa.int64()),
        (pa.array(["0x10", "2"]), pa.int64()),
        (pa.array([" 1", "-2.5e3"]), pa.float64()),
        (pa.array(["yes", "True"]), pa.bool_()),
        (pa.array([2**63, 2], pa.uint64()), pa.int64()),
        (pa.array(["9" * 19, "2"]), pa.int64()),
        (pa.array(["2026-02-30T12:00:00Z", "2026-01-01T12:00:00Z"]), TIME),
        (pa.array(["2026-01-01", "2026-01-01T12:00:00Z"]), TIME),
        (pa.array(["9999-12-31T23:59:59-01:00", "2026-01-01T12:00:00Z"]), TIME),
        (pa.array(["0000-01-01T00:00:00Z", "2026-01-01T12:00:00Z"]), TIME),
        (pa.array([-(2**62), 0], TIME), TIME),
        (pa.array([1, 1_000], pa.timestamp("ns")), TIME),
        (pa.array(["[1]", '["a"]']), pa.list_(pa.string())),
    ],
)
def test_reports_what_would_be_lost(values: pa.Array, target: pa.DataType) -> None:
    """Nothing is rounded or guessed: the first value is reported, the second kept."""
    result, lost = _cast(values, target)
    assert result[0] is None
    assert result[1] is not None
    assert lost == [True, False]


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (pa.float64(), pa.string(), False),
        (pa.bool_(), pa.string(), False),
        (pa.int64(), TIME, False),
        (pa.date32(), TIME, False),
        (pa.struct([]), pa.string(), False),
        (pa.list_(pa.int64()), pa.list_(pa.string()), False),
        (pa.date32(), pa.string(), True),
        (pa.large_string(), TIME, True),
        (pa.int8(), pa.float64(), True),
        (pa.large_list(pa.string()), pa.list_(pa.string()), True),
        (pa.dictionary(pa.int8(), pa.string()), pa.string(), True),
    ],
)
def test_knows_which_types_may_stand_for_which(source: pa.DataType, target: pa.DataType, *, expected: bool) -> None:
    """A number is no id once it has a fraction, and no time without a unit."""
    assert can_hold(source, target) is expected


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1).map(str), st.text(max_size=3))))
def test_every_value_is_null_kept_or_lost(texts: list[str | None]) -> None:
    """No value changes on its way: the result reads back as the number the text says."""
    result, lost = _cast(pa.array(texts, pa.string()), pa.int64())
    for text, value, is_lost in zip(texts, result, lost, strict=True):
        assert is_lost == (value is None and text is not None)
        assert value is None or text is None or value == int(text)
