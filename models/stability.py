"""Whether customers are as they were when a model was trained, and answer as it expects.

Belongs here: a reference of the population, and how far another is from it; when there were labels; and what answers
say. Does not belong here: what labels say (`models.calibration`), what becomes of a model that has drifted
(orchestration starts a training), or the index itself (`nextbest.drift`).

Two measures per feature: the population stability index (PSI), by the rule of thumb above 0.25 another population
(Siddiqi, 2006), and the Kolmogorov-Smirnov statistic, the largest difference of the two distribution functions, which
sees a shift within a bin; a fifth of all customers on the other side of some value is much for any of them.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.arrays import Array
from models.inputs import READINGS
from nextbest.drift import LEAST_ROWS, Profile, counts, profile, stability_index
from nextbest.live_features import subject_of
from nextbest.model_set import Model
from nextbest.residual import Statistics
from nextbest.settings import Settings

PSI_LIMIT = 0.25
KS_LIMIT = 0.2
DEVIATIONS = 4.0
"""How many standard deviations answers may be from what was expected: once in 16,000 looks by chance alone."""
_OFF_BY = 0.2
_QUANTILES = 101


class FeatureReference(msgspec.Struct, frozen=True):
    """A feature's distribution: the rows in its bins, and its percentiles."""

    profile: Profile
    quantiles: tuple[float, ...]


class Reference(msgspec.Struct, frozen=True):
    """The population that a model was trained for: every customer's newest features at that time."""

    as_of: datetime | None
    rows: int
    features: dict[str, FeatureReference]


class Shift(msgspec.Struct, frozen=True):
    """How far a feature is from its reference; `before` and `now` are the rows in its bins."""

    feature: str
    psi: float
    ks: float
    before: tuple[int, ...]
    now: tuple[int, ...]

    @property
    def is_another_population(self) -> bool:
        return self.psi > PSI_LIMIT or self.ks > KS_LIMIT


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What answers to decisions say of a model: of an action, or of all of them.

    Attributes:
        action: Its id; empty for all of them.
        contacts: How many they amount to whose time to answer is over.
        expected: Reward that the model expected of them.
        observed: Reward that came.
        deviations: By how many standard deviations more came than was expected.

    """

    action: str
    contacts: float
    expected: float
    observed: float
    deviations: float

    @property
    def is_off(self) -> bool:
        """Whether more or less came than chance explains, and by more than a fifth."""
        return abs(self.deviations) > DEVIATIONS and abs(self.observed - self.expected) > _OFF_BY * self.expected


def population(settings: Settings, model: Model) -> pd.DataFrame:
    """The newest published features of every customer, of those that the model takes: a column each, nothing else.

    Live features are of a moment, not of a population.
    """
    frames = [_newest(path, _taken(model)) for path in sorted((settings.marts / "current").glob("*.parquet"))]
    return pd.concat([pd.DataFrame(), *(frame for frame in frames if frame is not None)], axis="columns")


def _taken(model: Model) -> set[str]:
    """The features of a customer that a model takes, by the names that marts have for them."""
    plain = {feature.name for feature in model.features if feature.origin == "customer"}
    matched = {feature.name for feature in model.features if feature.origin == "match"}
    wanted = plain | {f"{name}__{action}" for name in matched for action in model.action_features}
    return {name for name in wanted if subject_of(name) is None}


def _newest(path: Path, wanted: set[str]) -> pd.DataFrame | None:
    """The wanted columns of a mart's newest row per customer; None of one that has none of them."""
    names = pq.read_schema(path).names
    columns = sorted(wanted & set(names))
    if not columns or not {"customer_id", "as_of"} <= set(names):
        return None
    rows = pq.read_table(path, columns=["customer_id", "as_of", *columns]).to_pandas()
    newest = rows[rows["as_of"] == rows["as_of"].max()]
    features: pd.DataFrame = newest.set_index("customer_id")[columns].astype(float)
    return features


def label_times(settings: Settings, name: str) -> pd.Series:
    """When a model's labels are of, by customer, of those that nothing can be added to any more; it may have none.

    It reads no feature, so that asking whether there is a new label costs next to nothing.
    """
    reading = READINGS[name]
    path = settings.marts / "current" / f"{reading.labels}.parquet"
    if not reading.time or not path.exists():
        return pd.Series(dtype="datetime64[us, UTC]")
    complete = {"is_complete"} & set(pq.read_schema(path).names)
    rows = pq.read_table(path, columns=["customer_id", reading.time, *complete]).to_pandas()
    known = rows[rows["is_complete"]] if complete else rows
    times: pd.Series = known.set_index("customer_id")[reading.time]
    return times


def reference(rows: pd.DataFrame, as_of: datetime | None) -> Reference:
    """The reference that a population is."""
    features = {}
    for name in rows.columns:
        column = _column(rows[name])
        known = profile(column)
        if known is not None and len(rows):
            values = rows[name].dropna().to_numpy(np.float64)
            quantiles = np.quantile(values, np.linspace(0, 1, _QUANTILES)) if len(values) else np.array([])
            features[str(name)] = FeatureReference(known, tuple(quantiles.tolist()))
    return Reference(as_of, len(rows), features)


def gone(before: Reference, now: pd.DataFrame, model: Model) -> list[str]:
    """Features of the reference that a model takes and nobody has a column of any more: it would decide by defaults."""
    return sorted((before.features.keys() & _taken(model)) - {str(name) for name in now.columns})


def shifts(before: Reference, now: pd.DataFrame) -> list[Shift]:
    """How far each feature is from the reference, furthest first; nothing where either has too few rows to tell."""
    if min(before.rows, len(now)) < LEAST_ROWS:
        return []
    found = [_shift(name, known, now[name]) for name, known in before.features.items() if name in now.columns]
    return sorted(found, key=lambda shift: -max(shift.psi / PSI_LIMIT, shift.ks / KS_LIMIT))


def _shift(name: str, before: FeatureReference, now: pd.Series) -> Shift:
    current = counts(before.profile, _column(now))
    psi = stability_index(before.profile.counts, current)
    ks = _kolmogorov_smirnov(np.array(before.quantiles), np.sort(now.dropna().to_numpy(np.float64)))
    return Shift(name, psi, ks, before.profile.counts, current)


def _kolmogorov_smirnov(quantiles: Array, values: Array) -> float:
    """The largest difference of the distribution functions, of one known by its percentiles."""
    if not len(quantiles) or not len(values):
        return 0.0
    points = np.unique(np.concatenate([quantiles, values]))
    one, other = (np.searchsorted(each, points, side="right") / len(each) for each in (quantiles, values))
    return float(np.max(np.abs(one - other)))


def _column(values: pd.Series) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values.to_numpy(np.float64))])


def answers(told: Mapping[str, Statistics]) -> list[Answers]:
    """What answers say of all actions together, then of each, furthest off first; nothing without any contact.

    The variance of what comes of a contact is that of a Bernoulli variable with the model's probability, whose sum is
    the first number of XᵀWX (`nextbest.residual`).
    """
    known = {action: each for action, each in told.items() if each.effective > 0}
    if not known:
        return []
    sums = {
        action: (each.effective, float(each.expected[0]), float(each.observed[0]), float(each.information[0, 0]))
        for action, each in known.items()
    }
    everything = _answers("", *(sum(numbers) for numbers in zip(*sums.values(), strict=True)))
    each = [_answers(action, *numbers) for action, numbers in sums.items()]
    return [everything, *sorted(each, key=lambda found: -abs(found.deviations))]


def _answers(action: str, contacts: float, expected: float, observed: float, variance: float) -> Answers:
    deviations = (observed - expected) / variance**0.5 if variance > 0 else 0.0
    return Answers(action=action, contacts=contacts, expected=expected, observed=observed, deviations=deviations)
