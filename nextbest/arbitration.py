"""Arbitration: from priorities to probabilities, an order drawn from them, and the probability of what is shown.

Belongs here: the numbers. Does not belong here: who is a candidate (`nextbest.screening`) or what a priority is made of
(`nextbest.decision`). Candidates are positions in an array; `do_nothing` is the first, so that it wins ties.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Strategy = Literal["greedy", "epsilon"]


def selection_pmf(priorities: Vector, strategy: Strategy, epsilon: float = 0.0) -> Vector:
    """The probability of each candidate to fill the first slot.

    Args:
        priorities: One per candidate, shape (n,), n ≥ 1; `do_nothing` first.
        strategy: `greedy` gives all mass to the highest priority; `epsilon` spreads a share of it evenly over all.
        epsilon: That share, from 0 to 1.

    """
    explored = epsilon if strategy == "epsilon" else 0.0
    pmf = np.full(len(priorities), explored / len(priorities))
    pmf[np.argmax(priorities)] += 1.0 - explored
    return pmf


def draw_order(pmf: Vector, priorities: Vector, uniforms: Vector) -> NDArray[np.intp]:
    """Every candidate in an order drawn without replacement with probabilities `pmf` (Plackett-Luce).

    Each candidate runs a race whose time is exponential with rate `pmf`: the order of arrival is the draw (Efraimidis &
    Spirakis 2006). Whatever subset then proves available, its first has probability p over the sum of p available. What
    has no mass never arrives and follows by priority.
    """
    with np.errstate(divide="ignore", over="ignore"):  # never to arrive is an infinite time
        arrival = -np.log(uniforms) / pmf
    return np.lexsort((-priorities, arrival))


def selection_probability(pmf: Sequence[float], available: Sequence[bool], chosen: int) -> float:
    """The probability of `chosen` given what was available; along an order drawn with `draw_order`.

    Where nothing available has mass, priority decides and nothing is random: the probability is 1.
    """
    total = sum(p for p, free in zip(pmf, available, strict=True) if free)
    return pmf[chosen] / total if total > 0.0 else 1.0
