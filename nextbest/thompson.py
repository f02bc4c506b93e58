"""Thompson sampling without sampling: the exact probability of each candidate to be the best.

Belongs here: the integral. Does not belong here: where the uncertainty comes from (`nextbest.residual`), or any draw
(`nextbest.arbitration`). Thompson sampling (Thompson 1933) takes each candidate as often as a draw from what is
believed of all of them makes it the best; logging that probability needs the integral, not the draw.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr

from nextbest.arbitration import Vector

_POINTS = 512
_LEAST_POINTS = 33
_REACH_SD = 7.5
"""Normal quantiles beyond this many standard deviations have no mass that a float would notice."""


def best_probabilities(location: Vector, deviation: Vector, gain: Vector, cost: Vector) -> Vector:
    """The probability that each candidate has the highest priority, where priorities are independent.

    A candidate's priority is `gain · sigmoid(L) - cost` with L normal. One without deviation or gain is certain: among
    equal certain ones the first wins.

    Args:
        location: Mean of L, in log odds, shape (n,).
        deviation: Standard deviation of L, shape (n,), not negative.
        gain: What a response is worth, in units of priority, shape (n,); may be negative.
        cost: Subtracted, shape (n,).

    Returns:
        Shape (n,), sums to 1. By quadrature over the priority: the distribution functions are exact at its nodes, which
        are quantiles of the candidates that can win. Tests hold it to what a million draws find, at deviations to 1.5.

    """
    law = _Law(location, deviation, gain, cost)
    low, mean, high = law.quantiles(np.array([-_REACH_SD, 0.0, _REACH_SD])).T
    is_certain = low >= high
    pmf = np.zeros(len(location))
    best_certain = int(np.argmax(np.where(is_certain, mean, -np.inf))) if is_certain.any() else None
    lowest = -np.inf if best_certain is None else mean[best_certain]
    floor = max(lowest, low[~is_certain].max(initial=-np.inf))
    contending = ~is_certain & (high > floor)
    if contending.any():
        pmf[contending] = law.of(contending).wins(lowest, floor)
    if best_certain is not None:
        pmf[best_certain] = max(0.0, 1.0 - pmf.sum())
    total = pmf.sum()
    if total == 0.0:  # priorities too close together for floats to tell apart
        pmf[np.argmax(mean)] = total = 1.0
    return np.asarray(pmf / total)


class _Law:
    """The distributions of priorities that are gain · sigmoid(normal) - cost; arrays of shape (n,)."""

    def __init__(self, location: Vector, deviation: Vector, gain: Vector, cost: Vector) -> None:
        self._parts = (location, deviation, gain, cost)
        self._location, self._deviation, self._gain, self._cost = (part[:, None] for part in self._parts)

    def of(self, mask: NDArray[np.bool_]) -> "_Law":
        return _Law(*(part[mask] for part in self._parts))

    def quantiles(self, z: Vector) -> Vector:
        """Priorities at the normal quantiles `z`, shape (n, len(z)), growing along z."""
        signed = np.sign(self._gain) * z[None, :]
        return np.asarray(self._gain * expit(self._location + self._deviation * signed) - self._cost)

    def below(self, priority: Vector) -> Vector:
        """The probability of each to be at most `priority`, shape (n, len(priority))."""
        with np.errstate(over="ignore"):  # of next to nothing any share is more than all
            share = np.clip((priority[None, :] + self._cost) / self._gain, 0.0, 1.0)
        z = np.sign(self._gain) * (logit(share) - self._location) / self._deviation
        return np.asarray(ndtr(z))

    def wins(self, lowest: float, floor: float) -> Vector:
        """The probability of each to be above all others and above `lowest`; below `floor` nothing wins."""
        count = max(_LEAST_POINTS, _POINTS // len(self._parts[0]))
        points = np.unique(self.quantiles(np.linspace(-_REACH_SD, _REACH_SD, count)))
        points = points[points > floor]
        points = np.concatenate(([floor], points[:: -(-len(points) // _POINTS)], points[-1:]))
        below = self.below(points)
        steps = np.diff(below, axis=1)
        others = _products_of_others(below)
        won = (steps * (others[:, 1:] + others[:, :-1])).sum(axis=1)
        total = 1.0 - (float(np.prod(self.below(np.array([lowest]))[:, 0])) if np.isfinite(lowest) else 0.0)
        return np.asarray(won * (total / won.sum()) if won.sum() > 0.0 else won)


def _products_of_others(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the product of all others, without dividing by one that may be 0; of the same shape."""
    others = np.ones_like(factors)
    np.multiply.accumulate(factors[:-1], axis=0, out=others[1:])
    others[:-1] *= np.multiply.accumulate(factors[:0:-1], axis=0)[::-1]
    return others
