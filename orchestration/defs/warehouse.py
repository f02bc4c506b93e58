"""Warehouse: every dbt model an asset, every dbt test a check; what did not change is not built again.

Belongs here: how the dbt project appears in Dagster and which of its models a run has to build. Does not belong here:
SQL (`dbt_project/`), or what a model's version is made of (`orchestration.dbt`).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster_dbt import DagsterDbtTranslator, DbtProject, dbt_assets

from nextbest.adapters.log_landing import LOG_CONTRACTS
from nextbest.adapters.policy_files import read_policy
from nextbest.errors import NextbestError
from nextbest.settings import Settings
from orchestration import unchanged
from orchestration.dbt import BUILT, model_versions, parsed_project, read_manifest, start
from orchestration.defs.feedback import feedback_key
from orchestration.defs.landing import batches, landing_key, supplied_contracts, table_key
from orchestration.defs.resources import Workspace
from orchestration.failures import explained

POOL = "warehouse"
"""Of size 1 (`orchestration.instance`): DuckDB lets one process write."""


class ActionsError(NextbestError):
    """Policy and warehouse do not mean the same actions."""


Manifest = Mapping[str, Any]
Results = Iterator[Any]


class Translator(DagsterDbtTranslator):
    """Sources are landing assets; a model's key is its layer and its name, and layers are groups."""

    def __init__(self, supplied: Collection[str]) -> None:
        """Take the names of the contracts that the home's source supplies."""
        super().__init__()
        self._supplied = supplied

    def get_asset_spec(self, manifest: Manifest, unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """A model that reads what the event log lands beside others depends on both."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        parents = {dep.asset_key for dep in spec.deps}
        logged = [feedback_key(name) for name in LOG_CONTRACTS if landing_key(name) in parents]
        return spec.replace_attributes(deps=[*spec.deps, *logged])

    def get_asset_key(self, dbt_resource_props: Manifest) -> dg.AssetKey:
        name = dbt_resource_props["name"]
        if dbt_resource_props["resource_type"] != "source":
            return dg.AssetKey([_layer(dbt_resource_props), name])
        return table_key(name, self._supplied)

    def get_group_name(self, dbt_resource_props: Manifest) -> str:
        return _layer(dbt_resource_props)


def _layer(props: Manifest) -> str:
    """The folder below `models/`: staging, intermediate, marts."""
    return str(props["fqn"][1])


@dataclass(frozen=True, slots=True)
class Project:
    """The parsed dbt project and its names in Dagster."""

    folder: Path
    manifest: Manifest
    translator: Translator

    def versions(self, selected: Collection[dg.AssetKey], workspace: Workspace) -> dict[dg.AssetKey, str]:
        """What each selected model's version is now, parents before children."""
        door = workspace.migrated_door()
        landed = {name: batches(door, name) for name in workspace.contracts()}
        by_id = model_versions(self.manifest, landed, datetime.now(UTC).date())
        named = {
            self.translator.get_asset_key(self.manifest["nodes"][each]): version for each, version in by_id.items()
        }
        return {key: version for key, version in named.items() if key in selected}

    def parents(self) -> dict[dg.AssetKey, set[dg.AssetKey]]:
        """The models that each model reads."""
        nodes = self.manifest["nodes"]
        models = {each for each, node in nodes.items() if node["resource_type"] in BUILT}
        named = {each: self.translator.get_asset_key(nodes[each]) for each in models}
        return {named[each]: {named[p] for p in nodes[each]["depends_on"]["nodes"] if p in models} for each in models}

    def actions(self) -> set[str]:
        """The actions that features are computed for."""
        return set(yaml.safe_load(self.manifest["settings"])["vars"]["actions"])

    def run(self, context: dg.AssetExecutionContext, settings: Settings, models: Collection[dg.AssetKey]) -> Results:
        """Build `models` and run every test that reads one of them."""
        settings.warehouse.parent.mkdir(parents=True, exist_ok=True)
        selection = " ".join(sorted(key.path[-1] for key in models))
        # Unit tests prove the SQL, not the data: they belong to `make test`.
        invocation = start(
            settings,
            ["build", "--select", selection, "--exclude-resource-type", "unit_test"],
            parsed=self.folder,
            manifest=self.manifest,
            translator=self.translator,
        )
        for event in invocation.stream_raw_events():
            yield from event.to_default_asset_events(self.manifest, self.translator, context)


def build(context: dg.AssetExecutionContext, workspace: Workspace, project: Project) -> Results:
    """Build the selected models whose version is another than at their last materialization, or that failed a check.

    With what reads them; the rest is repeated.
    """
    with explained():
        compare_actions(workspace.settings, project)
    versions = project.versions(context.selected_asset_keys, workspace)
    checks = {key: unchanged.last_evaluation(context.instance, key) for key in context.selected_asset_check_keys}
    failed = {key.asset_key for key, last in checks.items() if not unchanged.may_repeat(last)}
    is_there = workspace.settings.warehouse.exists()
    parents = project.parents()
    changed: set[dg.AssetKey] = set()
    for key, version in versions.items():  # parents first: what reads a model that is built again is built after it
        is_stale = key in failed or not is_there or not unchanged.is_unchanged(context, key, version)
        if is_stale or not changed.isdisjoint(parents[key]):
            changed.add(key)
    for key, version in versions.items():
        if key not in changed:
            yield unchanged.repeat(context.instance, key, version)
    tested = set()
    for result in project.run(context, workspace.settings, changed) if changed else ():
        if isinstance(result, dg.AssetCheckResult) and result.asset_key and result.check_name:
            tested.add(dg.AssetCheckKey(result.asset_key, result.check_name))
        yield _versioned(context, result, versions)
    for check, last in checks.items():
        if last and check not in tested:
            yield unchanged.repeat_evaluation(last)


def compare_actions(settings: Settings, project: Project) -> None:
    """Raise where the policy proposes other actions than the warehouse computes features for.

    What the policy gives a `starting` propensity is a new action: no data has it yet, and it needs no features.

    Raises:
        ActionsError: with the actions that only one of them names.

    """
    policy, computed = read_policy(settings.folder("policies")), project.actions()
    proposed, new = set(policy.actions), {action.id for action in policy.startings}
    if proposed - new != computed - new or computed - proposed:
        only = {"only in the policy": proposed - new - computed, "only in the variables": computed - proposed}
        said = "; ".join(f"{where}: {', '.join(sorted(names))}" for where, names in only.items() if names)
        raise ActionsError(f"policies/actions.yaml and vars.actions of dbt_project.yml name other actions: {said}")


def _versioned(context: dg.AssetExecutionContext, result: Any, versions: Mapping[dg.AssetKey, str]) -> Any:
    """A built model with the version it was built as."""
    if not isinstance(result, dg.Output):
        return result
    key = context.asset_key_for_output(result.output_name)
    metadata: dict[str, Any] = {**result.metadata, unchanged.SKIPPED: False}
    return dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=dg.DataVersion(versions[key]))


@dg.definitions
def defs() -> dg.Definitions:
    """The models of this home's dbt project, as one step."""
    settings = Settings.from_env()
    folder = parsed_project(settings)
    project = Project(folder, read_manifest(folder), Translator(supplied_contracts(settings)))

    @dbt_assets(manifest=project.manifest, dagster_dbt_translator=project.translator, name=POOL, pool=POOL)
    def warehouse(context: dg.AssetExecutionContext, workspace: Workspace) -> Results:
        yield from build(context, workspace, project)

    return dg.Definitions(assets=[warehouse])
