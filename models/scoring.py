"""Scores flow back: what champions say of every customer become features of their own.

Belongs here: batch scoring of customers. Does not belong here: training, or scoring inside a decision
(`nextbest.adapters.onnx`).
"""

import logging
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
from nextbest.adapters.marts import SCORES, scores_file
from nextbest.settings import Settings
from nextbest.situation import ScoringError

_log = logging.getLogger(__name__)
_SERVICE = "clv"
_ROWS = 50_000
"""Scored at a time: a model of buying takes two kilobytes a row."""


def score_customers(settings: Settings, as_of: datetime) -> int:
    """Score every customer with a feature row by their features at `as_of`; readers see all scores or the former ones.

    Returns:
        How many customers were scored: none without any champion, or before the first customer.

    Raises:
        UnservableError: a champion must not serve.
        ScoringError: a champion fails, or names no segment that there is; or the scores cannot be written.
        TrainingDataError: the feature store hands out other features than the marts hold.

    """
    registry = Registry(settings)
    champions = {
        name: champion for name, reading in READINGS.items() if reading.scores and (champion := registry.champion(name))
    }
    if not champions:
        return 0
    customers = _customers(settings, as_of)
    if customers.empty:
        return 0
    known = point_in_time(settings, _SERVICE, customers, pd.Series(as_of, index=customers.index))
    if known.leaks:
        raise TrainingDataError(f"features of {as_of} are not those of the marts: {', '.join(known.leaks)}")
    rows = known.features.reset_index(drop=True)
    for name, champion in champions.items():  # in the order of READINGS: segments are known before preferences
        try:
            said = _SAY.get(name, _by_features)(settings, champion, rows, as_of)
        except TooLittleDataError as error:
            _log.warning("%s says nothing of anybody: %s", name, error)
            continue
        rows = rows.assign(**{column: said[column].to_numpy() for column in READINGS[name].scores})
    versions = ", ".join(f"{name} {champion.model.version}" for name, champion in sorted(champions.items()))
    scores = rows.assign(as_of=as_of, model_versions=versions).reindex(columns=SCORES.names)
    _write(pa.Table.from_pandas(scores.sort_values("customer_id"), schema=SCORES, preserve_index=False), settings)
    return len(rows)


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
    segment = rows["segment"] if "segment" in rows else pd.Series(EVERYBODY, index=rows.index)
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
