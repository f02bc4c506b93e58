"""Training: the two models, each with its gate as a check, and the scores that flow back as features.

Belongs here: running `models` on the published marts and showing what came of it. Does not belong here: how a model is
trained, judged or promoted (`models/`). MLflow and scikit-learn take seconds to import, so steps import `models` when
they have to train.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from models.dependencies import training_digest
from nextbest.adapters.marts import scores_file
from nextbest.settings import Settings
from orchestration import unchanged
from orchestration.defs.features import REGISTRY, SCORES, SNAPSHOT
from orchestration.defs.resources import Workspace
from orchestration.failures import explained
from orchestration.unchanged import digest

if TYPE_CHECKING:
    from models.candidate import Registered
    from models.registry import Registry

GROUP = "training"
SCORING_GROUP = "scoring"
MODELS = ("propensity", "clv")
GATE = "gate"

Results = Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]


def model_key(name: str) -> dg.AssetKey:
    """Key of the asset that trains a model."""
    return dg.AssetKey(["models", name])


def _model(name: str) -> dg.AssetsDefinition:
    key = model_key(name)

    @dg.asset(
        key=key,
        deps=[SNAPSHOT, REGISTRY],
        group_name=GROUP,
        description=f"The model {name}: trained, measured against its baselines, registered, judged by its gate.",
        kinds={"scikitlearn", "mlflow"},
        check_specs=[
            dg.AssetCheckSpec(
                GATE, asset=key, description="A version that does not pass is registered and never becomes champion."
            )
        ],
    )
    def train(context: dg.AssetExecutionContext, workspace: Workspace) -> Results:
        settings, registry = workspace.settings, _registry(workspace.settings)
        version = digest(_snapshot(settings), training_digest(settings))
        gate = unchanged.last_evaluation(context.instance, dg.AssetCheckKey(key, GATE))
        if gate and registry.versions(name) and unchanged.is_unchanged(context, key, version):
            metadata = _metadata(registry, name) | {unchanged.SKIPPED: True}
            yield dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=dg.DataVersion(version))
            yield unchanged.repeat_evaluation(gate)
            return
        registered = _trained(settings, name)
        skipped = not isinstance(registered, str) and registered.skipped
        metadata = _metadata(registry, name) | {unchanged.SKIPPED: skipped}
        yield dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=dg.DataVersion(version))
        yield _not_trained(key, registered) if isinstance(registered, str) else _gate(key, registered)

    return train


def _trained(settings: Settings, name: str) -> "Registered | str":
    """What was registered, or why there is too little to train on: decisions then go on without the model."""
    too_little: type[Exception] = import_module("models.errors").TooLittleDataError
    with explained():
        try:
            registered: Registered = import_module(f"models.recipes.{name}").train_and_register(
                settings, datetime.now(UTC)
            )
        except too_little as error:
            return str(error)
    return registered


def _not_trained(key: dg.AssetKey, reason: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False,
        asset_key=key,
        check_name=GATE,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"no version was trained: {reason}",
    )


def _registry(settings: Settings) -> "Registry":
    registry: Registry = import_module("models.registry").Registry(settings)
    return registry


def _metadata(registry: "Registry", name: str) -> dict[str, Any]:
    """What the registry says and shows now: someone may have moved the alias since this model was trained."""
    if not registry.versions(name):
        return {"name": name}
    version = registry.current(name)
    return {
        "name": name,
        "version": version.version,
        "alias": "champion" if version.is_champion else "none",
        "metrics": dict(registry.metrics(version)),
        "mlflow run": version.run_id,
    } | {figure: _picture(figure, png) for figure, png in registry.figures(version).items()}


def _picture(name: str, png: bytes) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{b64encode(png).decode()})")


def _gate(key: dg.AssetKey, registered: "Registered") -> dg.AssetCheckResult:
    demands = pd.DataFrame(
        [
            {"demand": each.name, "met": each.passed, "what was measured": each.message}
            for each in registered.gate.checks
        ]
    )
    return dg.AssetCheckResult(
        passed=registered.gate.passed,
        asset_key=key,
        check_name=GATE,
        severity=dg.AssetCheckSeverity.WARN,
        description=_verdict(registered),
        metadata={"demands": dg.MetadataValue.md(demands.to_markdown(index=False))},
    )


def _verdict(registered: "Registered") -> str:
    if registered.gate.passed:
        return f"version {registered.version}: {registered.gate.reason}"
    return f"version {registered.version} does not become champion: {registered.gate.reason}"


@dg.asset(
    key=SCORES,
    deps=[model_key("clv"), SNAPSHOT],
    group_name=SCORING_GROUP,
    description="What the champion of `clv` expects of every customer; flows back as a feature.",
    kinds={"onnx", "parquet"},
)
def customer_scores(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[Any]:
    """Score every customer as of the last midnight."""
    settings = workspace.settings
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    champion = _registry(settings).champion_version("clv")
    version = digest(
        _snapshot(settings),
        champion and champion.version,
        training_digest(settings),
        unchanged.code_digest("models.scoring"),
    )

    def work() -> Mapping[str, Any]:
        score: Callable[[Settings, datetime], int] = import_module("models.scoring").score_customers
        with explained():
            return {"customers": score(settings, midnight), "path": dg.MetadataValue.path(scores_file(settings.marts))}

    is_present = scores_file(settings.marts).exists()
    return unchanged.materialize(context, SCORES, version, work, is_present=is_present)


def _snapshot(settings: Settings) -> str:
    """The published snapshot: its name is a digest of its rows."""
    return (settings.marts / "current").resolve().name


@dg.definitions
def defs() -> dg.Definitions:
    """An asset per model, and the scores."""
    return dg.Definitions(assets=[*map(_model, MODELS), customer_scores])
