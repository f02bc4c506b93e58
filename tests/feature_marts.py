"""Marts of features as Feast reads them, and the feature store over them, for tests of what is read at a moment."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml

from nextbest.adapters.marts import SCORES
from nextbest.settings import Settings

VIEWS = ("customer_profile", "customer_rfm", "department_affinity", "category_affinity", "contact_response")
TIME = "datetime64[us, UTC]"


def write_marts(settings: Settings, customers: Sequence[str], moments: Sequence[pd.Timestamp]) -> None:
    """Every feature of every customer is 1 at the first moment, 2 at the second and so on; nobody has any score."""
    folder = settings.marts / "current"
    folder.mkdir(parents=True)
    keys = {
        "customer_id": np.repeat(np.array(customers, dtype=object), len(moments)),
        "as_of": pd.Series([*moments] * len(customers), dtype=TIME),
    }
    values = np.tile(np.arange(1, len(moments) + 1), len(customers))
    for view in VIEWS:
        features = {name: pd.Series(values, dtype=kind) for name, kind in _columns(view).items()}
        pd.DataFrame(keys | features).to_parquet(folder / f"{view}.parquet", index=False)
    scores = settings.marts / "scores"
    scores.mkdir()
    pq.write_table(SCORES.empty_table(), scores / "customer_scores.parquet")


def _columns(view: str) -> dict[str, str]:
    path = Settings().folder("dbt") / "models" / "marts" / f"{view}.yml"
    [model] = yaml.safe_load(path.read_text())["models"]
    types = {"integer": "int64", "double": "float64"}
    return {column["name"]: types[column["data_type"]] for column in model["columns"] if column["data_type"] in types}


def apply(settings: Settings) -> None:
    """Have Feast know the views."""
    settings.feast_registry.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, settings.feature_repo / "apply.py"],
        env=settings.environment() | {"PATH": str(Path(sys.executable).parent), "HOME": str(settings.home)},
        check=True,
        capture_output=True,
    )
