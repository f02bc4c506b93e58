"""Segments, send time and channel, next category: measured where the truth is known, beside what people do without.

Belongs here: the splits, the systems, their measures. Does not belong here: the worlds (`habit_worlds`),
or what is measured beside ours (`habit_peers`).

Every system learns from the same rows and is measured on the same others; intervals are over customers.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.truths import habit_worlds
from benchmarks.truths.habit_peers import NEXT, SENDS, cells
from benchmarks.truths.habit_worlds import CHANNEL_SHARES, DAYTIME, HOUR_SHARES, Sends
from benchmarks.truths.rows import Role, Row
from models import intent, preferences, segments, sequences
from models.arrays import Array
from models.evaluation import Statistic, bootstrap
from models.inputs import matrix, segment_features
from models.sequences import Events

Codes = NDArray[np.int64]
Measures = Mapping[str, tuple[Literal["lower", "higher"], Statistic]]
Found = TypeVar("Found")

_OURS = "nextbest"
_TRUTH = "the truth"
_SURPRISE = 0.01  # granted to what a system without doubts holds impossible


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of one model and data set, on so many customers."""

    model: str
    data: str
    customers: int
    seed: int
    rows: list[Row] = field(default_factory=list)

    def add(self, system: str, role: Role, measures: Measures, seconds: float | None = None) -> None:
        """Add a row per measure, all on the same resamples of customers."""
        statistics = [statistic for _, statistic in measures.values()]
        found = bootstrap(np.arange(self.customers).astype(str), *statistics, seed=self.seed)
        for (measure, (is_better, _)), each in zip(measures.items(), found, strict=True):
            row = Row(
                model=self.model, data=self.data, system=system, role=role, measure=measure, is_better=is_better,
                value=each.estimate, low=each.low, high=each.high, seconds=seconds,
            )  # fmt: skip
            self.rows.append(row)


def measure(seed: int) -> list[Row]:
    """All rows of the section."""
    with threadpool_limits(1):
        return [*measure_segments(seed), *measure_preferences(seed), *measure_intent(seed)]


def measure_segments(seed: int) -> list[Row]:
    """Found on one half of the customers, judged on the other: do those of one kind share a segment with no others?"""
    frame, kind = habit_worlds.shoppers(6_000, seed)
    half, kinds = len(frame) // 2, int(kind.max()) + 1
    train, test, truth = frame[:half], frame[half:], kind[half:]
    section = Section("segments", f"{kinds} kinds of simulated customers", half, seed)
    fitted, seconds = _timed(lambda: segments.train(train, segments.Params(features=segment_features(frame))))
    assigned = fitted.predict(matrix(test, fitted.features)).astype(np.int64)
    section.add(_OURS, "nextbest", _agreement(truth, assigned), seconds)
    scaler = StandardScaler().fit(matrix(train, fitted.features))
    x, unseen = (scaler.transform(matrix(rows, fitted.features)) for rows in (train, test))
    peers = {
        "k-means of standardized features": KMeans(kinds, n_init=5, random_state=seed),
        "Gaussian mixture of standardized features": GaussianMixture(kinds, n_init=5, random_state=seed),
    }
    for system, model in peers.items():
        found, seconds = _timed(partial(model.fit, x))
        section.add(f"{system}, told there are {kinds}", "peer", _agreement(truth, found.predict(unseen)), seconds)
    found_and_true: dict[Role, tuple[str, int]] = {"nextbest": (_OURS, len(fitted.segments)), "truth": (_TRUTH, kinds)}
    counts = [
        Row(
            model=section.model, data=section.data, system=system, role=role, is_better="nearer",
            measure="number of segments", value=count,
        )
        for role, (system, count) in found_and_true.items()
    ]  # fmt: skip
    named = [
        Row(
            model=section.model, data=section.data, system=_OURS, role="nextbest", is_better="higher",
            measure=f"of one kind: {each.name}",
            value=float(np.bincount(truth[assigned == each.number]).max() / np.sum(assigned == each.number)),
        )
        for each in fitted.segments
    ]  # fmt: skip
    return section.rows + counts + named


def measure_preferences(seed: int) -> list[Row]:
    """With many sends to a customer, and with few."""
    return [*_preferences(seed, 40), *_preferences(seed, 8)]


def _preferences(seed: int, each: int) -> list[Row]:
    """Learn from three sends of four: how far off is P(answer), and what does choosing by it lose?"""
    world = habit_worlds.sends(3_000, each, seed)
    is_test = np.random.default_rng(seed).random(len(world.frame)) < 1 / 4
    train, test = world.frame[~is_test], world.frame[is_test]
    section = Section("preferences", f"simulated sends, {each * 3 // 4} to a customer", len(world.customers), seed)
    fitted, seconds = _timed(lambda: preferences.train(train, preferences.Params()))
    ours = fitted.probabilities(world.customers, world.segments)[:, DAYTIME]
    section.add(_OURS, "nextbest", _habits(world, test, ours), seconds)
    for system, (role, learn) in SENDS.items():
        found, seconds = _timed(partial(learn, train, world))
        section.add(system, role, _habits(world, test, found), seconds)
    section.add(_TRUTH, "truth", _habits(world, test, world.truth))
    return section.rows


def measure_intent(seed: int) -> list[Row]:
    """Learn from three quarters of the time, predict each event of the last from what came before it."""
    world = habit_worlds.visits(2_000, 40, seed)
    begins = world.frame["occurred_at"].sort_values(ignore_index=True)[len(world.frame) * 3 // 4]
    train = world.frame[world.frame["occurred_at"] < begins]
    fitted, seconds = _timed(lambda: intent.train(train, intent.Params()))
    known = sequences.events(world.frame, fitted.categories)
    place = np.arange(len(known.when)) - known.start[known.customer]
    is_past = known.when < begins.timestamp()
    past, rows = (np.flatnonzero((place >= 2) & which) for which in (is_past, ~is_past))  # noqa: PLR2004  peers see two
    section = Section("next category", "simulated visits", len(known.customers), seed)
    ours = fitted.probabilities(known, sequences.before(known, rows))
    section.add(_OURS, "nextbest", _choices(known, rows, ours), seconds)
    for system, (role, learn) in NEXT.items():
        found, seconds = _timed(partial(learn, known, past, rows))
        section.add(system, role, _choices(known, rows, found), seconds)
    section.add(_TRUTH, "truth", _choices(known, rows, world.truth[rows]))  # by customer and time, as `known` is
    return section.rows


def _timed(learn: Callable[[], Found]) -> tuple[Found, float]:
    began = time.perf_counter()
    return learn(), time.perf_counter() - began


def _mean(customer: Codes, value: Array, customers: int) -> Statistic:
    total = np.bincount(customer, value, minlength=customers)
    count = np.bincount(customer, minlength=customers)
    return lambda weights: np.asarray((weights @ total) / (weights @ count))


def _agreement(truth: Codes, found: Codes) -> Measures:
    """The adjusted Rand index (Hubert & Arabie, 1985, eq. 5)."""
    kinds, groups = int(truth.max()) + 1, int(found.max()) + 1
    is_in = np.eye(kinds * groups)[truth * groups + found]

    def statistic(weights: Array) -> Array:
        cells = (weights @ is_in).reshape(-1, kinds, groups)
        pairs, rows, columns, everybody = (
            (count * (count - 1) / 2).reshape(len(weights), -1).sum(axis=1)
            for count in (cells, cells.sum(axis=2), cells.sum(axis=1), cells.sum(axis=(1, 2)))
        )
        expected = rows * columns / everybody
        return np.asarray((pairs - expected) / ((rows + columns) / 2 - expected))

    return {"adjusted Rand index": ("higher", statistic)}


def _habits(world: Sends, test: pd.DataFrame, probability: Array) -> Measures:
    """Of P(answer) by customer, hour of `DAYTIME` and channel."""
    everyone, count = np.arange(len(world.customers)), len(world.customers)
    customer, hour, channel = cells(test, world)
    p = np.clip(probability[customer, hour, channel], _SURPRISE, 1 - _SURPRISE)
    is_answered = test["is_answered"].to_numpy(np.bool_)
    loss = -np.log(np.where(is_answered, p, 1 - p))
    square = np.square(probability - world.truth) @ CHANNEL_SHARES
    error = _mean(everyone, square.mean(axis=1), count)

    def lost(told: Array, true: Array) -> Statistic:
        return _mean(everyone, true.max(axis=1) - true[everyone, told.argmax(axis=1)], count)

    by_hour = [each @ CHANNEL_SHARES for each in (probability, world.truth)]
    by_channel = [HOUR_SHARES @ each for each in (probability, world.truth)]
    return {
        "log loss": ("lower", _mean(customer, loss, count)),
        "RMSE of P(answer)": ("lower", lambda weights: np.sqrt(error(weights))),
        "regret of the hour": ("lower", lost(*by_hour)),
        "regret of the channel": ("lower", lost(*by_channel)),
    }


def _choices(known: Events, rows: Codes, probability: Array) -> Measures:
    customer, count = known.customer[rows], len(known.customers)
    chosen = np.maximum(np.take_along_axis(probability, known.category[rows][:, None], axis=1), 1e-9)
    above = (probability > chosen).sum(axis=1)
    return {
        "log loss": ("lower", _mean(customer, -np.log(chosen[:, 0]), count)),
        "top-1 accuracy": ("higher", _mean(customer, (above < 1).astype(np.float64), count)),
        "top-3 accuracy": ("higher", _mean(customer, (above < 3).astype(np.float64), count)),  # noqa: PLR2004
    }
