"""Whether a column's values are distributed as they were: the population stability index (PSI).

    PSI = sum over bins of (q - p) * ln(q / p)

with p the reference's share of a bin and q the current one's. Its rules of thumb, below 0.1 stable and above 0.25
another population, are Siddiqi's (Credit Risk Scorecards, 2006); what it varies by without any change, about
(bins - 1) * (1/n + 1/m), is Yurdakul's (Statistical Properties of Population Stability Index, 2018). Belongs here:
bins, counts and the index. Does not belong here: which rows are compared, or how much is too much
(`nextbest.contracts`).
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Array = npt.NDArray[np.float64]

LEAST_ROWS: Final = 500
"""With fewer on either side, the index of 20 bins moves by a tenth without any change."""

_BINS: Final = 10
_MOST_VALUES: Final = 20
_MOST_DISTINCT: Final = 1_000
_SMOOTHING: Final = 0.5


class Profile(msgspec.Struct, frozen=True):
    """A column's distribution, small enough to keep.

    `counts` are rows per bin: a number's bins are (-inf, edge], (edge, next edge], ..., (last edge, inf); a text's are
    its most frequent values and one for every other. The last bin of both is null, and a number's NaN.
    """

    counts: tuple[int, ...]
    edges: tuple[float, ...] | None = None
    values: tuple[str, ...] | None = None

    @property
    def rows(self) -> int:
        return sum(self.counts)


def profile(column: pa.ChunkedArray) -> Profile | None:
    """The distribution of a column by its own deciles or most frequent values.

    Returns:
        None where it says nothing: of text with more than a thousand values, or another one in most rows.

    """
    empty = _empty_number(column) if _is_number(column) else _empty_text(column)
    return empty and msgspec.structs.replace(empty, counts=counts(empty, column))


def counts(reference: Profile, column: pa.ChunkedArray) -> tuple[int, ...]:
    """The rows of a column in each bin of another one's profile."""
    if reference.edges is not None:
        numbers = _numbers(column)
        bins = np.searchsorted(np.array(reference.edges), numbers, side="left")
        found = np.bincount(bins, minlength=len(reference.edges) + 1).tolist()
        return (*found, len(column) - len(numbers))
    values = reference.values or ()
    rows = {each["values"]: each["counts"] for each in pc.value_counts(_text(column)).to_pylist()}
    missing, known = rows.get(None, 0), [rows.get(value, 0) for value in values]
    return (*known, len(column) - sum(known) - missing, missing)


def stability_index(reference: Sequence[int], current: Sequence[int]) -> float:
    """The PSI of two counts over the same bins; half a row is added to every bin, so that an empty one stays finite."""
    p, q = (_shares(np.asarray(each, dtype=np.float64)) for each in (reference, current))
    return float(np.sum((q - p) * np.log(q / p)))


def _shares(rows: Array) -> Array:
    smoothed = rows + _SMOOTHING
    shares: Array = smoothed / smoothed.sum()
    return shares


def _empty_number(column: pa.ChunkedArray) -> Profile:
    numbers = _numbers(column)
    # Of values that are mostly one, several deciles are the same: each edge counts once.
    cuts = np.linspace(0, 1, _BINS + 1)[1:-1]
    edges = np.unique(np.quantile(numbers, cuts, method="lower")) if len(numbers) else np.array([])
    return Profile((), edges=tuple(edges.tolist()))


def _empty_text(column: pa.ChunkedArray) -> Profile | None:
    rows = sorted((-each["counts"], each["values"]) for each in pc.value_counts(_text(column).drop_null()).to_pylist())
    if len(rows) > min(_MOST_DISTINCT, max(len(column) // 2, _MOST_VALUES)):
        return None
    return Profile((), values=tuple(value for _, value in rows[:_MOST_VALUES]))


def _is_number(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


def _numbers(column: pa.ChunkedArray) -> Array:
    numbers: Array = column.drop_null().cast(pa.float64(), safe=False).to_numpy()
    return numbers[~np.isnan(numbers)]


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())
