"""What the rows of lifetime value and churn are made of: figures with intervals, and seconds.

Belongs here: statistics that only this section takes, as rows. Does not belong here: data, models or peers.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.truths.rows import Role, Row
from models.arrays import Array
from models.evaluation import Statistic, bootstrap

_T = TypeVar("_T")

Better = Literal["higher", "lower", "nearer"]


@dataclass(frozen=True, slots=True)
class Said:
    """What a system says of each row, and how long it took to be fitted and asked."""

    role: Role
    answer: Array
    seconds: float | None = None


def timed(work: Callable[[], _T]) -> tuple[_T, float]:
    """What `work` gives, and its seconds; lifetimes warns of its own arithmetic."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        result = work()
        return result, time.perf_counter() - start


def rows_of(
    model: str,
    data: str,
    *,
    systems: Mapping[str, Said],
    measures: Mapping[str, tuple[Better, Callable[[Array], Statistic]]],
    customers: NDArray[np.str_],
    seed: int,
) -> list[Row]:
    """Every measure of every system, all on the same resamples of customers."""
    wanted = [(system, said, measure) for system, said in systems.items() for measure in measures]
    statistics = [measures[measure][1](said.answer) for _, said, measure in wanted]
    return [
        Row(
            model=model, data=data, system=system, role=said.role, measure=measure, is_better=measures[measure][0],
            value=interval.estimate, low=interval.low, high=interval.high, seconds=said.seconds,
        )
        for (system, said, measure), interval in zip(wanted, bootstrap(customers, *statistics, seed=seed), strict=True)
    ]  # fmt: skip


def correlation(actual: Array, said: Array) -> Statistic:
    """Pearson's."""

    def statistic(weights: Array) -> Array:
        total = weights.sum(axis=1)
        a, b = weights @ actual / total, weights @ said / total
        both = weights @ (actual * said) / total - a * b
        spread = (weights @ actual**2 / total - a**2) * (weights @ said**2 / total - b**2)
        return np.asarray(both / np.sqrt(spread))

    return statistic


def share_of_sum(actual: Array, said: Array) -> Statistic:
    """The sum of what is said, in parts of the truth."""
    return lambda weights: np.asarray((weights @ said) / (weights @ actual))


def log_loss(outcome: Array, probability: Array) -> Statistic:
    """Mean negative log likelihood, in nats."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    losses = -(outcome * np.log(p) + (1 - outcome) * np.log1p(-p))
    return lambda weights: np.asarray((weights @ losses) / weights.sum(axis=1))
