"""How alike a model treats the groups of a protected field: who is selected, and whether it expects what comes of them.

Belongs here: the measures by group, with intervals. Does not belong here: which fields are protected and how much is
too much (the contract, `nextbest.contracts.Fairness`), or the verdict (`models.gates`).

The rates are fairlearn's (Bird et al., 2020), whose own intervals are of resampled rows: ours are by customer.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, selection_rate
from numpy.typing import NDArray

from models.arrays import Array
from models.evaluation import CONFIDENCE, Interval, Statistic, bootstrap
from models.gates import GroupFairness
from nextbest.contracts import Fairness

UNKNOWN = ""
"""The group of whoever nobody knows it of: no name that a group has."""
_LEAST_CUSTOMERS = 30
_DRAWS = 4_000
_NONE = 1e-12


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of customers with what came of each, what was expected, and whether it is selected."""

    customers: NDArray[np.str_]
    actual: Array
    predicted: Array
    is_selected: NDArray[np.bool_]

    def of(self, rows: NDArray[np.bool_]) -> "_Rows":
        return _Rows(self.customers[rows], self.actual[rows], self.predicted[rows], self.is_selected[rows])


def by_group(
    customers: NDArray[np.str_],
    groups: Mapping[str, NDArray[np.str_]],
    actual: Array,
    predicted: Array,
    limits: Fairness,
) -> tuple[GroupFairness, ...]:
    """The measures of every group with 30 customers and more of every protected field; nobody unknown takes part.

    All intervals together hold with the confidence of one (Bonferroni): else of twenty groups that are treated alike,
    one in five times some group would be evidence against the model.

    Args:
        customers: Whose each row is, shape (rows,).
        groups: By field, the group of each row; `UNKNOWN` where nobody knows it.
        actual: What came of each row: 0 or 1, or an amount.
        predicted: What the model expected: the rows above its quantile `1 - selected_share` are selected.
        limits: Of the contract; of them `selected_share` is used.

    """
    everyone = _Rows(customers, actual, predicted, predicted >= np.quantile(predicted, 1 - limits.selected_share))
    large = {field: _large(group, customers) for field, group in groups.items()}
    measured = {field: names for field, names in large.items() if len(names) > 1}
    confidence = 1 - (1 - CONFIDENCE) / max(1, sum(map(len, measured.values())))
    found: list[GroupFairness] = []
    for field, names in measured.items():
        rows = np.isin(groups[field], names)
        found += _of_field(field, groups[field][rows], everyone.of(rows), confidence)
    return tuple(found)


def _large(group: NDArray[np.str_], customers: NDArray[np.str_]) -> NDArray[np.str_]:
    """The groups of enough customers, however many rows each of them has."""
    members = pd.Series(customers).groupby(group).nunique()
    return np.array([name for name, count in members.items() if name != UNKNOWN and count >= _LEAST_CUSTOMERS], str)


def _of_field(field: str, group: NDArray[np.str_], rows: _Rows, confidence: float) -> list[GroupFairness]:
    actual, predicted = rows.actual, rows.predicted
    rates = MetricFrame(
        metrics=selection_rate, y_true=actual, y_pred=rows.is_selected, sensitive_features=group
    ).by_group
    names = [str(name) for name in rates.index]
    favoured = max(names, key=lambda name: float(rates[name]))
    members = {name: group == name for name in names}
    statistics = (_happened_share(actual, predicted, members[name]) for name in names)
    shares = bootstrap(rows.customers, *statistics, confidence=confidence)
    return [
        GroupFairness(
            field=field,
            group=name,
            rows=int(members[name].sum()),
            selection_rate=float(rates[name]),
            ratio=_ratio(rows, members[name], members[favoured], confidence),
            expected=float(predicted[members[name]].mean()),
            happened=float(actual[members[name]].mean()),
            calibration=_calibration(share, _most(rows, members[name], confidence)),
        )
        for name, share in zip(names, shares, strict=True)
    ]


def _ratio(rows: _Rows, members: NDArray[np.bool_], favoured: NDArray[np.bool_], confidence: float) -> Interval:
    """The selection rate of members over that of the favoured.

    A resample of a group of which nobody is selected has nobody selected either, so the interval is that of two rates
    with Jeffreys' prior, of as many independent draws as there are customers: a customer's rows stand or fall together.
    """
    estimate = rows.is_selected[members].mean() / max(float(rows.is_selected[favoured].mean()), _NONE)
    if (members == favoured).all():
        return Interval(1.0, 1.0, 1.0)
    random = np.random.default_rng(0)
    drawn = [_rates(rows.of(group), random) for group in (members, favoured)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn[0] / drawn[1], [tail, 1 - tail])
    return Interval(float(estimate), float(low), float(high))


def _rates(rows: _Rows, random: np.random.Generator) -> Array:
    part = len(np.unique(rows.customers)) / len(rows.customers)
    chosen, others = (part * float(np.sum(which)) for which in (rows.is_selected, ~rows.is_selected))
    return random.beta(chosen + 0.5, others + 0.5, size=_DRAWS)


def _happened_share(actual: Array, predicted: Array, is_member: NDArray[np.bool_]) -> Statistic:
    """The sum of what happened as a share of the sum of what is expected: finite also where nothing happened."""
    members = is_member.astype(np.float64)

    def statistic(weights: Array) -> Array:
        happened, expected = weights @ (members * actual), weights @ (members * predicted)
        is_known = (np.abs(happened) > 0) | (expected > 0)
        return np.where(is_known, happened / np.maximum(expected, _NONE), np.nan)

    return statistic


def _most(rows: _Rows, members: NDArray[np.bool_], confidence: float) -> float:
    """What may have happened, as a share of what is expected, where nothing did: resampled, nothing stays nothing.

    So many events that none of them happens with the probability of the interval's tail (for 95 % the rule of three,
    Hanley & Lippman-Hand, 1983), each of the mean size of everybody's; a customer's rows stand or fall together.
    """
    actual, group = rows.actual, rows.of(members)
    if np.any(group.actual):
        return 0.0
    events = actual[actual > 0]
    expected = group.predicted.sum() * len(np.unique(group.customers)) / len(group.customers)
    if not len(events) or expected <= 0:
        return math.inf
    return float(-math.log((1 - confidence) / 2) * events.mean() / expected)


def _calibration(share: Interval, most: float) -> Interval:
    """How far the sum of what is expected is from the sum of what happened, as a share of it."""

    def off(happened: float) -> float:
        return happened if math.isnan(happened) else 1.0 / happened - 1.0 if happened > 0 else math.inf

    return Interval(off(share.estimate), off(max(share.high, most)), off(share.low))


def groups_of(customers: pd.Series, protected: pd.DataFrame) -> dict[str, NDArray[np.str_]]:
    """The group of each row's customer, by protected field.

    Args:
        customers: Of each row.
        protected: `customer_id`, one row each, and a column per protected field; null where it is not known.

    """
    # Numbers that some are missing of are no fractions: a group is named as it is in the data.
    known = protected.set_index("customer_id").convert_dtypes().reindex(customers)
    return {str(field): known[field].astype("string").fillna(UNKNOWN).to_numpy(dtype=str) for field in known.columns}
