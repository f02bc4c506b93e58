"""Where features come from: the published marts, and how their columns are read as features.

Belongs here: paths of marts and the translation of a mart's documentation into Feast's fields. Does not belong here: a
feature's name or type, which `dbt_project/models/marts/*.yml` states and dbt enforces.
"""

import os
from pathlib import Path

import yaml
from feast import Field, FileSource
from feast.types import Float64, Int64, PrimitiveFeastType

_KEYS = {"customer_id", "as_of"}
_TYPES: dict[str, PrimitiveFeastType] = {"integer": Int64, "double": Float64}


def published(name: str, *, folder: str = "current") -> FileSource:
    """Read a mart from the current snapshot, or from another folder beside it."""
    path = Path(os.environ["NEXTBEST_MARTS"]) / folder / f"{name}.parquet"
    return FileSource(name=name, path=str(path), timestamp_field="as_of")


def fields(mart: str) -> list[Field]:
    """Every feature of a mart, as its dbt model documents it."""
    models = Path(os.environ["NEXTBEST_DBT_PROJECT"]) / "models" / "marts"
    [model] = yaml.safe_load((models / f"{mart}.yml").read_text())["models"]
    return [
        Field(name=column["name"], dtype=_TYPES[column["data_type"]], description=column["description"])
        for column in model["columns"]
        if column["name"] not in _KEYS
    ]
