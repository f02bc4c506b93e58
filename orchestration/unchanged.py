"""Not doing again what did not change: a version per asset, compared with its last materialization.

Dagster runs whatever a run selects. Here an asset says what its result depends on (inputs, contract, code) as one
version; when its last materialization carries the same version and its result is still there, it materializes anew
without the work, with the old metadata and `skipped`. Belongs here: versions and that comparison. Does not belong
here: what a version is made of, which each asset knows.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES

DATA_VERSION_TAG = "dagster/data_version"
FULL_TAG = "nextbest/full"
"""A run with this tag does all work, changed or not."""

SKIPPED = "skipped"

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


def digest(*parts: object) -> str:
    """16 hex digits over the parts' text; a part's end is part of it, so ("ab", "c") is not ("a", "bc")."""
    return hashlib.sha256("".join(f"{len(str(part))}:{part}" for part in parts).encode()).hexdigest()[:16]


def file_digest(paths: Iterable[Path]) -> str:
    """Digest over the names and contents of files, whatever their order."""
    contents = {(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths}
    return digest(*sorted(contents))


def code_digest(*modules: str) -> str:
    """Digest over the source of modules and whole packages, which are found but not run."""
    return file_digest(path for module in modules for path in _sources(module))


def _sources(module: str) -> list[Path]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    origin = Path(spec.origin)
    return sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]


@dataclass(frozen=True, slots=True)
class Materialized:
    """The last materialization of an asset."""

    version: str | None
    metadata: Mapping[str, Any]


def last_materialization(instance: dg.DagsterInstance, key: dg.AssetKey) -> Materialized | None:
    """The version and metadata of the asset's last materialization; None before the first."""
    event = instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        return None
    materialization = event.asset_materialization
    return Materialized((materialization.tags or {}).get(DATA_VERSION_TAG), materialization.metadata)


def last_evaluation(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> dg.AssetCheckEvaluation | None:
    """The last finished evaluation of a check; the latest record of a running check is only its plan."""
    records = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
    )
    event = records[0].event if records else None
    evaluation = event.get_dagster_event().event_specific_data if event else None
    return evaluation if isinstance(evaluation, dg.AssetCheckEvaluation) else None


def may_repeat(evaluation: dg.AssetCheckEvaluation | None) -> bool:
    """Whether a check's last result still stands: what failed is looked at again, for someone may have mended it."""
    return evaluation is not None and (evaluation.passed or evaluation.severity == dg.AssetCheckSeverity.WARN)


def repeat_evaluation(evaluation: dg.AssetCheckEvaluation) -> dg.AssetCheckResult:
    """A check's last result once more, marked as skipped."""
    return dg.AssetCheckResult(
        passed=evaluation.passed,
        asset_key=evaluation.asset_key,
        check_name=evaluation.check_name,
        severity=evaluation.severity,
        description=evaluation.description,
        metadata=dict(evaluation.metadata) | {SKIPPED: True},
    )


def is_unchanged(context: Context, key: dg.AssetKey, version: str) -> bool:
    """Whether the last materialization has this version and the run does not ask for all the work."""
    if FULL_TAG in context.run.tags:
        return False
    last = last_materialization(context.instance, key)
    return last is not None and last.version == version


def materialize(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    version: str,
    work: Callable[[], Mapping[str, Any]],
    *,
    is_present: bool = True,
) -> dg.MaterializeResult[Any]:
    """Do `work`, whose metadata describe its result, or repeat the last result when nothing changed.

    Args:
        context: of the running asset.
        key: the asset's.
        version: digest of everything the result depends on.
        work: makes the result; called at most once.
        is_present: False when the last result is gone (someone deleted files): the work is then done whatever the
            versions say.

    """
    if is_present and is_unchanged(context, key, version):
        return repeat(context.instance, key, version)
    metadata = dict(work()) | {SKIPPED: False}
    return dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=dg.DataVersion(version))


def repeat(instance: dg.DagsterInstance, key: dg.AssetKey, version: str) -> dg.MaterializeResult[Any]:
    """The asset's last materialization once more, marked as skipped."""
    last = last_materialization(instance, key)
    metadata = (dict(last.metadata) if last else {}) | {SKIPPED: True}
    return dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=dg.DataVersion(version))
