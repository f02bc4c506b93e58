"""How good a model is, and how sure that is: pure functions of arrays.

Belongs here: statistics, intervals and curves. Does not belong here: thresholds (`models.gates`) and figures
(`models.plots`).

A statistic takes weights of shape (resamples, rows) and returns one value per resample, so that a thousand resamples
are one array operation. Intervals are percentile intervals of a bootstrap by household (Efron & Tibshirani, 1993): a
household's rows stand or fall together, as they are not independent.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import Array

Statistic = Callable[[Array], Array]

RESAMPLES = 2_000
CONFIDENCE = 0.95
_IMPOSSIBLE = 1e-9  # what is held for impossible and happens costs no more than that
_LEAST_HOUSEHOLDS = 10
_CELLS = 200_000  # of weights held at a time: no more than a processor's cache holds beside what is made of them


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate on all rows and its interval over resampled households."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"


UNTOLD = Interval(np.nan, np.nan, np.nan)
"""Where there is nothing to tell by."""


def bootstrap(
    households: NDArray[np.str_], *statistics: Statistic, seed: int = 0, confidence: float = CONFIDENCE
) -> tuple[Interval, ...]:
    """Intervals of several statistics, all on the same resamples of households.

    Of fewer than ten households the bounds are not numbers: resampled, one says the same every time, as if sure.
    """
    names, code = np.unique(households, return_inverse=True)
    random = np.random.default_rng(seed)
    step = max(1, _CELLS // len(code))
    drawn: list[list[Array]] = [[] for _ in statistics]
    for start in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - start)
        counts = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=size)
        weights = counts.astype(np.float64)[:, code]
        for values, statistic in zip(drawn, statistics, strict=True):
            values.append(statistic(weights))
    everyone = np.ones((1, len(code)))
    return tuple(
        _interval(
            float(statistic(everyone)[0]),
            np.concatenate(values) if len(names) >= _LEAST_HOUSEHOLDS else np.array([np.nan]),
            confidence,
        )
        for statistic, values in zip(statistics, drawn, strict=True)
    )


def _interval(estimate: float, resampled: Array, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    if np.isnan(resampled).all():
        return Interval(estimate, np.nan, np.nan)
    # A resample without a positive or a negative has no AUC.
    with np.errstate(invalid="ignore"):  # between two infinite ones lies no number
        low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high))


def _once(statistic: Statistic) -> Statistic:
    """The same, which answers what it has just been asked without working it out again.

    A model's own statistic is a part of every difference from it, on the same resamples.
    """
    asked, answer = np.empty(0), np.empty(0)

    def remembered(weights: Array) -> Array:
        nonlocal asked, answer
        if weights is not asked:
            asked, answer = weights, statistic(weights)
        return answer

    return remembered


def difference(a: Statistic, b: Statistic) -> Statistic:
    """`a` less `b`, each resample against itself."""
    return lambda weights: a(weights) - b(weights)


def auc(is_positive: NDArray[np.bool_], score: Array) -> Statistic:
    """Area under the ROC curve: P(a positive scores higher than a negative), ties counting half."""
    order, starts = _ties(score)
    positive = is_positive[order].astype(np.float64)

    def statistic(weights: Array) -> Array:
        weights = weights[:, order]
        wins = np.add.reduceat(weights * positive, starts, axis=1)
        losses = np.add.reduceat(weights * (1 - positive), starts, axis=1)
        below = np.cumsum(losses, axis=1) - losses / 2
        pairs = wins.sum(axis=1) * losses.sum(axis=1)
        unknown = np.full(len(weights), np.nan)
        return np.asarray(np.divide((wins * below).sum(axis=1), pairs, out=unknown, where=pairs > 0))

    return _once(statistic)


def mean(values: Array) -> Statistic:
    """Mean of `values`, one per row."""

    def statistic(weights: Array) -> Array:
        total: Array = weights @ values
        return np.asarray(total / weights.sum(axis=1))

    return statistic


def mean_absolute_error(actual: Array, predicted: Array) -> Statistic:
    """Mean of |actual - predicted|, in the target's unit."""
    return mean(np.abs(actual - predicted))


def error_reduction(actual: Array, predicted: Array, reference: Array) -> Statistic:
    """1 - MAE / MAE of the reference: the part of the reference's error that is gone."""
    own, other = mean_absolute_error(actual, predicted), mean_absolute_error(actual, reference)
    return lambda weights: 1.0 - own(weights) / other(weights)


def likelihood_gain(actual: Array, predicted: Array, reference: Array) -> Statistic:
    """How much likelier what happened was to a prediction than to the reference, in nats per row.

    Args:
        actual: 1 where it happened, 0 where not.
        predicted: P(1).
        reference: P(1), by somebody else.

    """
    return mean(log_likelihood(actual, predicted) - log_likelihood(actual, reference))


def log_likelihood(actual: Array, probability: Array) -> Array:
    """Of each outcome 0 or 1, in nats; what was held for impossible costs no more than a certain amount."""
    return np.asarray(np.log(np.maximum(np.where(actual > 0, probability, 1.0 - probability), _IMPOSSIBLE)))


def spearman(actual: Array, predicted: Array) -> Statistic:
    """Rank correlation, ties sharing their mean rank."""
    rank_actual, rank_predicted = _ranks(actual), _ranks(predicted)

    def statistic(weights: Array) -> Array:
        a, b = (_centred(rank(weights), weights) for rank in (rank_actual, rank_predicted))
        variances = (weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1)
        return np.asarray((weights * a * b).sum(axis=1) / np.sqrt(variances))

    return _once(statistic)


def _ranks(values: Array) -> Statistic:
    order, starts = _ties(values)
    tie = np.zeros(len(values), dtype=np.int64)
    tie[starts[1:]] = 1
    position = np.empty(len(values), dtype=np.int64)
    position[order] = np.cumsum(tie)

    def ranks(weights: Array) -> Array:
        counts = np.add.reduceat(weights[:, order], starts, axis=1)
        return (np.cumsum(counts, axis=1) - counts / 2)[:, position]

    return ranks


def _centred(values: Array, weights: Array) -> Array:
    return np.asarray(values - ((weights * values).sum(axis=1) / weights.sum(axis=1))[:, None])


def _ties(values: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(values[order]) > 0]))
    return order, starts


def log_loss(outcome: Array, probability: Array) -> float:
    """Mean negative log likelihood of outcomes 0 and 1, in nats."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return float(-np.mean(outcome * np.log(p) + (1 - outcome) * np.log1p(-p)))


def calibration_curve(outcome: Array, predicted: Array, bins: int = 10) -> Array:
    """Mean prediction, mean outcome and rows of `bins` groups of equal size, by rising prediction; shape (bins, 3)."""
    groups = np.array_split(np.argsort(predicted, kind="stable"), min(bins, len(predicted)))
    return np.array([(predicted[rows].mean(), outcome[rows].mean(), len(rows)) for rows in groups])


def calibration_error(outcome: Array, probability: Array, bins: int = 10) -> float:
    """Expected calibration error: how far predictions are from what happens, in mean over groups of equal size."""
    curve = calibration_curve(outcome, probability, bins)
    return float(np.average(np.abs(curve[:, 0] - curve[:, 1]), weights=curve[:, 2]))


def gain_curve(outcome: Array, predicted: Array) -> Array:
    """Part of all outcome reached by the best-scored part of the rows, from 0 to 1; shape (rows + 1,)."""
    reached = np.cumsum(outcome[np.argsort(-predicted, kind="stable")])
    return np.concatenate([[0.0], reached / max(float(reached[-1]), 1e-12)])
