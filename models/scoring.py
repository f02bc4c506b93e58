"""CLV scores flow back: what the champion says of every customer becomes a feature of its own.

Belongs here: batch scoring of customers. Does not belong here: training (`models.clv`), or scoring inside a decision
(`nextbest.adapters.onnx`).
"""

from datetime import datetime

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.errors import TrainingDataError
from models.export import score
from models.frames import point_in_time, read_mart
from models.recipes import clv
from models.registry import Registry
from nextbest.adapters.marts import SCORES, scores_file
from nextbest.settings import Settings


def score_customers(settings: Settings, as_of: datetime) -> int:
    """Score every customer with a feature row by their features at `as_of`; readers see all scores or the former ones.

    Returns:
        How many customers were scored: none without a champion.

    """
    champion = Registry(settings).champion(clv.NAME)
    if champion is None:
        return 0
    customers = _customers(settings, as_of)
    known = point_in_time(settings, "clv", customers, pd.Series(as_of, index=customers.index))
    if known.leaks:
        raise TrainingDataError(f"features of {as_of} are not those of the marts: {', '.join(known.leaks)}")
    features = known.features
    value = score(champion.model, champion.onnx, features)
    scores = pd.DataFrame(
        {
            "customer_id": features["customer_id"],
            "as_of": as_of,
            "clv_91d": value,
            "model_version": champion.model.version,
        }
    ).sort_values("customer_id")
    _write(pa.Table.from_pandas(scores, schema=SCORES, preserve_index=False), settings)
    return len(scores)


def _customers(settings: Settings, as_of: datetime) -> pd.Series:
    known = read_mart(settings, "customer_rfm")
    return known.loc[known["as_of"] <= as_of, "customer_id"].drop_duplicates().reset_index(drop=True)


def _write(scores: pa.Table, settings: Settings) -> None:
    path = scores_file(settings.marts)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    pq.write_table(scores, draft)
    draft.replace(path)
