"""Scores flow back: what champions say of every customer become features of their own.

Belongs here: batch scoring of customers. Does not belong here: training, or scoring inside a decision
(`nextbest.adapters.onnx`).
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.arrays import Array
from models.candidate import Champion
from models.errors import TrainingDataError
from models.export import score
from models.frames import point_in_time, read_mart
from models.inputs import READINGS
from models.registry import Registry
from nextbest.adapters.marts import SCORES, scores_file
from nextbest.settings import Settings

_SERVICE = "clv"
_ROWS = 50_000
"""Scored at a time: a model of buying takes two kilobytes a row."""


def score_customers(settings: Settings, as_of: datetime) -> int:
    """Score every customer with a feature row by their features at `as_of`; readers see all scores or the former ones.

    Returns:
        How many customers were scored: none without any champion.

    Raises:
        TrainingDataError: the feature store hands out other features than the marts hold.

    """
    registry = Registry(settings)
    champions = {
        name: champion for name, reading in READINGS.items() if reading.scores and (champion := registry.champion(name))
    }
    if not champions:
        return 0
    customers = _customers(settings, as_of)
    known = point_in_time(settings, _SERVICE, customers, pd.Series(as_of, index=customers.index))
    if known.leaks:
        raise TrainingDataError(f"features of {as_of} are not those of the marts: {', '.join(known.leaks)}")
    said: dict[str, object] = {
        str(READINGS[name].scores): _said(champion.model.labels, _scored(champion, known.features))
        for name, champion in champions.items()
    }
    versions = ", ".join(f"{name} {champion.model.version}" for name, champion in sorted(champions.items()))
    keys = {"customer_id": known.features["customer_id"], "as_of": as_of, "model_versions": versions}
    rows = pd.DataFrame(dict.fromkeys(SCORES.names) | keys | said, index=known.features.index)
    _write(pa.Table.from_pandas(rows.sort_values("customer_id"), schema=SCORES, preserve_index=False), settings)
    return len(rows)


def _scored(champion: Champion, features: pd.DataFrame) -> Array:
    parts = [features.iloc[start : start + _ROWS] for start in range(0, len(features), _ROWS)]
    return np.concatenate([score(champion.model, champion.onnx, part) for part in parts])


def _said(labels: Sequence[str], scores: Array) -> Array | NDArray[np.object_]:
    """The scores, or what they are numbers of."""
    return np.array(labels, dtype=object)[scores.astype(np.intp)] if labels else scores


def _customers(settings: Settings, as_of: datetime) -> pd.Series:
    known = read_mart(settings, "customer_rfm")
    return known.loc[known["as_of"] <= as_of, "customer_id"].drop_duplicates().reset_index(drop=True)


def _write(scores: pa.Table, settings: Settings) -> None:
    path = scores_file(settings.marts)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    pq.write_table(scores, draft)
    draft.replace(path)
