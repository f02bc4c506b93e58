"""Features: a published snapshot of the marts, Feast's registry, and the online store filled from both.

Belongs here: publishing and materializing. Does not belong here: computing a feature (`dbt_project/`), or declaring its
view (`feature_repo/`, which is a folder of its own: Feast imports it by file name, so it runs as a subprocess).
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from nextbest.adapters.marts import SCHEMA, publish, scores_file
from nextbest.adapters.online_store import is_filled, note_filled
from nextbest.errors import NextbestError
from nextbest.settings import Settings
from orchestration import unchanged
from orchestration.dbt import parsed_project, read_manifest
from orchestration.defs.resources import Workspace
from orchestration.defs.warehouse import POOL
from orchestration.failures import explained
from orchestration.unchanged import digest

GROUP = "features"
SNAPSHOT = dg.AssetKey([GROUP, "snapshot"])
REGISTRY = dg.AssetKey([GROUP, "registry"])
ONLINE = dg.AssetKey([GROUP, "online_store"])
SCORES = dg.AssetKey(["scoring", "customer_scores"])

_LOOK_BACK = timedelta(days=1)
_MESSAGE_LINES = 15


class FeatureStoreError(NextbestError):
    """Feast refuses; the message is the end of what it said."""


def mart_digests(warehouse: Path, names: list[str]) -> dict[str, str]:
    """A digest of each mart's rows, whatever their order."""
    with closing(duckdb.connect(warehouse, read_only=True)) as connection:
        rows = {
            name: connection.execute(f"SELECT count(*), bit_xor(hash(mart)) FROM {SCHEMA}.{name} AS mart").fetchone()  # noqa: S608  names of our own models
            for name in names
        }
    return {name: digest(row) for name, row in rows.items()}


def _snapshot(names: list[str]) -> dg.AssetsDefinition:
    @dg.asset(
        key=SNAPSHOT,
        deps=[dg.AssetKey([SCHEMA, name]) for name in names],
        group_name=GROUP,
        description="The marts as immutable Parquet, which training, Feast and serving read instead of the warehouse.",
        kinds={"parquet"},
        pool=POOL,
    )
    def snapshot(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[Any]:
        settings = workspace.settings
        digests = mart_digests(settings.warehouse, names)
        version = digest(*sorted(digests.items()))

        def work() -> Mapping[str, Any]:
            folder = publish(settings.warehouse, settings.marts, names, version)
            return {"path": dg.MetadataValue.path(folder), "marts": digests}

        is_present = (settings.marts / "current").resolve().name == f"snapshot={version}"
        return unchanged.materialize(context, SNAPSHOT, version, work, is_present=is_present)

    return snapshot


@dg.asset(
    key=REGISTRY,
    deps=[SNAPSHOT],
    group_name=GROUP,
    description="Feast's registry: what entities, feature views and feature services there are.",
    kinds={"feast"},
)
def registry(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[Any]:
    """Apply the feature repository."""
    settings = workspace.settings
    # Feast reads the columns of the files it is pointed at; their documentation says what each of them is.
    version = digest(
        _repository_digest(settings),
        _documentation_digest(settings),
        *_columns(settings),
        settings.state_server,  # its tables, where it has any, are made here
    )

    def work() -> Mapping[str, Any]:
        settings.feast_registry.parent.mkdir(parents=True, exist_ok=True)
        return {"output": dg.MetadataValue.md(_feast(settings, "apply.py"))}

    is_present = settings.feast_registry.exists() and (bool(settings.state_url) or settings.feast_online.exists())
    return unchanged.materialize(context, REGISTRY, version, work, is_present=is_present)


@dg.asset(
    key=ONLINE,
    deps=[REGISTRY, SNAPSHOT, SCORES],
    group_name=GROUP,
    description="The newest features of every customer, where serving reads them in milliseconds.",
    kinds={"feast"},
)
def online_store(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[Any]:
    """Copy the newest row of every view; once, after scoring, because a start of Feast costs more than the rows."""
    settings, now = workspace.settings, datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    version = digest(
        _repository_digest(settings),
        (settings.marts / "current").resolve().name,
        unchanged.file_digest([scores_file(settings.marts)]),
        midnight,
        settings.state_server,
    )

    def work() -> Mapping[str, Any]:
        span = ["--start", (midnight - _LOOK_BACK).isoformat(), "--end", now.isoformat(timespec="seconds")]
        rows = json.loads(_feast(settings, "materialize.py", *span))
        with explained():
            note_filled(settings, version)
        return {f"customers in {view}": count for view, count in rows.items()}

    with explained():
        is_present = is_filled(settings, version)
    return unchanged.materialize(context, ONLINE, version, work, is_present=is_present)


def _repository_digest(settings: Settings) -> str:
    return unchanged.file_digest(path for path in settings.feature_repo.iterdir() if path.suffix in {".py", ".yaml"})


def _documentation_digest(settings: Settings) -> str:
    return unchanged.file_digest((settings.folder("dbt") / "models" / SCHEMA).glob("*.yml"))


def _columns(settings: Settings) -> list[str]:
    """The names and types of every published mart's columns."""
    files = sorted((settings.marts / "current").glob("*.parquet"))
    marts = [(file.name, duckdb.read_parquet(str(file))) for file in files]
    return [f"{name}: {list(zip(mart.columns, mart.types, strict=True))}" for name, mart in marts]


def _feast(settings: Settings, script: str, *options: str) -> str:
    """Run a script of the feature repository and return what it printed.

    Raises:
        dagster.Failure: it ended with another status than 0; with the end of its output.

    """
    done = subprocess.run(
        [sys.executable, script, *options],
        cwd=settings.feature_repo,
        env={**os.environ, **settings.environment(), "FEAST_USAGE": "False"},
        capture_output=True,
        text=True,
        check=False,
    )
    with explained():
        if done.returncode != 0:
            lines = (done.stdout + done.stderr).strip().splitlines()[-_MESSAGE_LINES:]
            raise FeatureStoreError(f"{' '.join([script, *options])} failed:\n" + "\n".join(lines))
    return done.stdout


@dg.definitions
def defs() -> dg.Definitions:
    """The snapshot of whatever marts the dbt project has, and what Feast makes of it."""
    nodes = read_manifest(parsed_project(Settings.from_env()))["nodes"].values()
    marts = sorted(node["name"] for node in nodes if node["resource_type"] == "model" and node["schema"] == SCHEMA)
    return dg.Definitions(assets=[_snapshot(marts), registry, online_store])
