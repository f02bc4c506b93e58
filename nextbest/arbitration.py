"""Arbitration: from priorities to probabilities, an order drawn from them, and the probability of what is shown.

Belongs here: the numbers. Does not belong here: who is a candidate (`nextbest.screening`) or what a priority is made of
(`nextbest.scoring`). Candidates are positions in an array; `do_nothing` is the first, so that it wins ties.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
_TINY = 1e-300
Strategy = Literal["greedy", "epsilon", "inverse_gap", "thompson"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """How chance comes in.

    `epsilon` is the share drawn evenly; `gamma` counts gaps, per unit of priority; `floor` is the least probability.
    """

    strategy: Strategy
    epsilon: float = 0.0
    gamma: float = 100.0
    floor: float = 0.0


def greedy(priorities: Vector) -> Vector:
    """All mass on the highest priority; shape (n,)."""
    pmf = np.zeros(len(priorities))
    pmf[np.argmax(priorities)] = 1.0
    return pmf


def epsilon_greedy(priorities: Vector, epsilon: float) -> Vector:
    """A share `epsilon`, from 0 to 1, spread evenly over all, the rest on the highest priority; shape (n,)."""
    pmf = np.full(len(priorities), epsilon / len(priorities))
    pmf[np.argmax(priorities)] += 1.0 - epsilon
    return pmf


def inverse_gap(priorities: Vector, gamma: float) -> Vector:
    """Inverse gap weighting: 1 / (n + gamma · gap) for all but the best, which has the rest; shape (n,).

    Source: Foster & Rakhlin, "Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles", ICML
    2020, algorithm 1, with its exploration parameter mu set to the number of candidates.
    """
    best = priorities.argmax()
    pmf = 1.0 / (len(priorities) + gamma * (priorities[best] - priorities))
    pmf[best] = 0.0
    pmf[best] = 1.0 - pmf.sum()
    return np.asarray(pmf)


def with_floor(pmf: Vector, floor: float) -> Vector:
    """The mixture in which no candidate has less than `floor`; an even draw where there are too many for that.

    A mass that the draw could not tell from none is none: its candidate is to follow by priority.
    """
    reserved = min(floor * len(pmf), 1.0)
    mixed = (1.0 - reserved) * pmf + reserved / len(pmf) if reserved else pmf
    return np.where(mixed > _TINY, mixed, 0.0)


def explored(priorities: Vector, exploration: Exploration) -> Vector:
    """The pmf of any strategy that follows from priorities alone, with its floor; shape (n,).

    Thompson's does not: it asks how sure each priority is (`nextbest.thompson`).
    """
    match exploration.strategy:
        case "epsilon":
            pmf = epsilon_greedy(priorities, exploration.epsilon)
        case "inverse_gap":
            pmf = inverse_gap(priorities, exploration.gamma)
        case "greedy" | "thompson":
            pmf = greedy(priorities)
    return with_floor(pmf, exploration.floor)


def draw_order(pmf: Vector, priorities: Vector, uniforms: Vector) -> NDArray[np.intp]:
    """Every candidate in an order drawn without replacement with probabilities `pmf` (Plackett-Luce).

    Each candidate runs a race whose time is exponential with rate `pmf`: the order of arrival is the draw (Efraimidis &
    Spirakis 2006). Whatever subset then proves available, its first has probability p over the sum of p available. What
    has no mass never arrives and follows by priority.
    """
    if pmf.min() > _TINY:
        return np.argsort(-np.log(uniforms) / pmf, kind="stable")
    with np.errstate(divide="ignore", over="ignore"):  # never to arrive is an infinite time
        return np.lexsort((-priorities, -np.log(uniforms) / pmf))


def selection_probability(pmf: Sequence[float], available: Sequence[bool], chosen: int, ahead: int = 0) -> float:
    """The probability of `chosen` given what was available; along an order drawn with `draw_order`.

    The first `ahead` come before the draw. Where one of them is available, or nothing available has mass, priority
    decides and nothing is random: the probability is 1.
    """
    if chosen < ahead:
        return 1.0
    total = sum(compress(pmf, available))
    return pmf[chosen] / total if total > 0.0 else 1.0
