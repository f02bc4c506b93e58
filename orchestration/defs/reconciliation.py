"""Reconciliation: what came in is in the warehouse, before the marts are published.

Belongs here: one step after dbt, with a check per staging model that a contract has, and one per model that says in its
YAML what it reconciles with:

    config: {meta: {reconciles: {with: staging.stg_transactions, sums: {spend: sales_value}}}}

where `sums` names, for each of its columns, the column that is summed to the same, and `where` and `with_where` bound
both sides. The step fails when one of its checks does, and with it whatever waits for a model it looks at: no mart is
published. It is no dbt test, for those say that something is lost and not where, and cannot know what the door counted.
Does not belong here: adding up (`orchestration.reconciliation`).
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import dagster as dg
import duckdb
import pandas as pd

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.contracts import Contract
from nextbest.settings import Settings
from orchestration import unchanged
from orchestration.dbt import parsed_project, read_manifest
from orchestration.defs.landing import supplied_contracts
from orchestration.defs.resources import Workspace
from orchestration.defs.warehouse import POOL, Project, Translator
from orchestration.reconciliation import Reconciliation, Total, reconcile_model, reconcile_staging

NAME = "reconciliation"
STAGING = "staging"
_STALE = "something has landed since this was built: the next run compares"


def staging_key(contract: str) -> dg.AssetKey:
    """Key of a contract's staging model."""
    return dg.AssetKey([STAGING, f"stg_{contract}"])


def declared(manifest: Mapping[str, Any]) -> dict[dg.AssetKey, Mapping[str, Any]]:
    """What the models of a project say they reconcile with."""
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    found = {dg.AssetKey([node["schema"], node["name"]]): node["config"]["meta"].get("reconciles") for node in models}
    return {key: each for key, each in found.items() if each}


def reconcile(connection: duckdb.DuckDBPyConnection, key: dg.AssetKey, says: Mapping[str, Any]) -> Reconciliation:
    """A model against what it says it reconciles with."""
    read = Total(says["with"], says["sums"], says.get("with_where", "true"))
    held = Total(".".join(key.path), {name: name for name in says["sums"]}, says.get("where", "true"))
    return reconcile_model(connection, read, held)


def _spec(key: dg.AssetKey, description: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(NAME, asset=key, blocking=True, description=description)


def _result(key: dg.AssetKey, found: Reconciliation) -> dg.AssetCheckResult:
    stages = pd.DataFrame(found.table()).to_markdown(index=False, disable_numparse=True)
    return dg.AssetCheckResult(
        passed=found.passed,
        asset_key=key,
        check_name=NAME,
        description=found.said,
        metadata={"stages": dg.MetadataValue.md(stages)},
    )


def _staged(
    connection: duckdb.DuckDBPyConnection, settings: Settings, door: Door, contract: Contract
) -> Reconciliation:
    table = ".".join(staging_key(contract.name).path)
    return reconcile_staging(connection, contract, door.receipts(contract.name), settings.landing, table)


@dg.definitions
def defs() -> dg.Definitions:
    """One step, which opens the warehouse once and only reads; quick enough to be done every time."""
    settings = Settings.from_env()
    folder = parsed_project(settings)
    project = Project(folder, read_manifest(folder), Translator(supplied_contracts(settings)))
    built = {node["name"] for node in project.manifest["nodes"].values() if node["resource_type"] == "model"}
    contracts = load_contracts(settings.folder("contracts"))
    staged = {staging_key(name): each for name, each in contracts.items() if f"stg_{name}" in built}
    models = declared(project.manifest)
    specs = [
        *(_spec(key, f"Every row and amount of {each.name} that landed is staged.") for key, each in staged.items()),
        *(_spec(key, f"Every amount of {says['with']} is in it.") for key, says in models.items()),
    ]

    @dg.multi_asset_check(name=NAME, specs=specs, can_subset=True, pool=POOL)
    def reconciliation(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> Iterator[dg.AssetCheckResult]:
        selected = {check.asset_key for check in context.selected_asset_check_keys}
        settings, door = workspace.settings, workspace.door()
        for key, version in project.versions(selected, workspace).items():
            last = unchanged.last_materialization(context.instance, key)
            if last is None or last.version != version:
                selected.remove(key)
                yield dg.AssetCheckResult(passed=True, asset_key=key, check_name=NAME, description=_STALE)
        with closing(duckdb.connect(settings.warehouse, read_only=True)) as connection:
            for key in sorted(selected):
                if key in staged:
                    yield _result(key, _staged(connection, settings, door, staged[key]))
                else:
                    yield _result(key, reconcile(connection, key, models[key]))

    return dg.Definitions(asset_checks=[reconciliation])
