"""Scores flow back: what champions say of every customer become features of their own.

Belongs here: batch scoring of customers. Does not belong here: training, or scoring inside a decision
(`nextbest.adapters.onnx`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models import decision_frames, intent, preferences
from models.candidate import Champion
from models.decision_frames import EVERYBODY
from models.errors import TooLittleDataError, TrainingDataError
from models.export import score
from models.frames import point_in_time, read_mart
from models.inputs import READINGS
from models.registry import Registry
from models.versions import UnservableError
from nextbest.adapters.marts import SCORES, scores_file
from nextbest.settings import Settings
from nextbest.situation import ScoringError

_SERVICE = "clv"
_ROWS = 50_000
"""Scored at a time: a model of buying takes two kilobytes a row."""


@dataclass(frozen=True, slots=True)
class Scored:
    """How many customers were scored, and why a model was not asked, by its name."""

    customers: int
    unasked: Mapping[str, str] = field(default_factory=dict)


def score_customers(settings: Settings, as_of: datetime) -> Scored:
    """Score every customer with a feature row by their features at `as_of`; readers see all scores or the former ones.

    Nobody is scored without any champion, or before the first customer. What a champion said before it must not serve,
    or could not say anything, stays: it keeps no other model, and no feature, from being what it is today.

    Raises:
        ScoringError: the scores cannot be written.
        TrainingDataError: the feature store hands out other features than the marts hold.

    """
    champions, unasked = _champions(Registry(settings))
    customers = _customers(settings, as_of)
    if not champions or customers.empty:
        return Scored(0, unasked)
    known = point_in_time(settings, _SERVICE, customers, pd.Series(as_of, index=customers.index))
    if known.leaks:
        raise TrainingDataError(f"features of {as_of} are not those of the marts: {', '.join(known.leaks)}")
    rows = known.features.reset_index(drop=True)
    versions: dict[str, str] = {}
    for name, champion in champions.items():  # in the order of READINGS: segments are known before preferences
        try:
            said = _SAY.get(name, _by_features)(settings, champion, rows, as_of)
        except (TooLittleDataError, ScoringError) as error:
            unasked[name] = str(error)
            continue
        rows = rows.assign(**{column: said[column].to_numpy() for column in READINGS[name].scores})
        versions[name] = champion.model.version
    if former := _former(settings, unasked):
        rows = rows.merge(former[0], on="customer_id", how="left", validate="one_to_one")
        versions |= former[1]
    named = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    scores = rows.assign(as_of=as_of, model_versions=named).reindex(columns=SCORES.names)
    _write(pa.Table.from_pandas(scores.sort_values("customer_id"), schema=SCORES, preserve_index=False), settings)
    return Scored(len(rows), unasked)


def _champions(registry: Registry) -> tuple[dict[str, Champion], dict[str, str]]:
    """Those that may be asked, and why others may not."""
    found: dict[str, Champion] = {}
    refused: dict[str, str] = {}
    for name in (name for name, reading in READINGS.items() if reading.scores):
        try:
            if champion := registry.champion(name):
                found[name] = champion
        except UnservableError as error:
            refused[name] = str(error)
    return found, refused


def _former(settings: Settings, names: Collection[str]) -> tuple[pd.DataFrame, dict[str, str]] | None:
    """What these models said last, by customer, and which versions it was; None where they said nothing."""
    path = scores_file(settings.marts)
    if not names or not path.exists():
        return None
    scores = pd.read_parquet(path)
    said = dict(each.split(" ") for each in ", ".join(scores["model_versions"].unique()).split(", ") if each)
    columns = [column for name in names for column in READINGS[name].scores if column in scores]
    return scores[["customer_id", *columns]], {name: said[name] for name in names if name in said}


def _by_features(_: Settings, champion: Champion, rows: pd.DataFrame, __: datetime) -> pd.DataFrame:
    """The scores, or what they are numbers of."""
    parts = [rows.iloc[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
    scores = np.concatenate([score(champion.model, champion.onnx, part) for part in parts])
    labels, [column] = champion.model.labels, READINGS[champion.model.name].scores
    if not labels:
        return pd.DataFrame({column: scores})
    if not np.isin(scores, np.arange(len(labels))).all():
        raise ScoringError(f"{champion.model.name} version {champion.model.version}: says a kind that has no name")
    return pd.DataFrame({column: np.array(labels, dtype=object)[scores.astype(np.intp)]})


def _preferences(settings: Settings, champion: Champion, rows: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Of every customer, by what they answered until then; of those nothing was sent to, what is known of others."""
    sent = decision_frames.preferences_set(settings).frame
    fitted = preferences.restored(champion.onnx, sent[sent["decided_at"] <= as_of], preferences.Params())
    if "segment" in rows:
        segment = rows["segment"]
    else:  # nobody may say it now: as it was said last
        segment = rows["customer_id"].map(decision_frames.segments_of(settings)).fillna(EVERYBODY)
    said = preferences.preferences(fitted, rows["customer_id"].tolist(), segment.tolist())
    return said.rename(columns={"hour_gain": "best_hour_gain", "channel_gain": "best_channel_gain"})


def _intent(settings: Settings, champion: Champion, rows: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Of customers with an event in a category."""
    events = decision_frames.intent_set(settings).frame
    found = intent.next_categories(intent.restored(champion.onnx, events), events, as_of)
    named = found.rename(columns={"category": "next_category", "probability": "next_category_probability"})
    return rows[["customer_id"]].merge(named, on="customer_id", how="left", validate="one_to_one")


_SAY = MappingProxyType({"preferences": _preferences, "intent": _intent})
"""Of models that say something else than a number of a row of features."""


def _customers(settings: Settings, as_of: datetime) -> pd.Series:
    known = read_mart(settings, "customer_rfm")
    return known.loc[known["as_of"] <= as_of, "customer_id"].drop_duplicates().reset_index(drop=True)


def _write(scores: pa.Table, settings: Settings) -> None:
    path = scores_file(settings.marts)
    draft = path.with_suffix(".draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(scores, draft)
        draft.replace(path)
    except OSError as error:
        raise ScoringError(f"scores cannot be written to {path}: {error}; the former ones stay") from error
