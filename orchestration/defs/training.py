"""Training: the models, each with the demands of its gate as checks, and the scores that flow back as features.

Belongs here: running `models` on the published marts and showing what came of it. Does not belong here: how a model is
trained, judged or promoted (`models/`). MLflow and scikit-learn take seconds to import, so steps import `models` when
they have to train.
"""

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
from orchestration.pictures import picture
from orchestration.unchanged import digest

if TYPE_CHECKING:
    from models.candidate import Registered
    from models.registry import Registry
    from models.scoring import Scored

GROUP = "training"
SCORING_GROUP = "scoring"
SCORING = ("clv", "churn", "segments", "preferences", "intent")
"""Models whose champions score every customer."""
GATE = "gate"
CHECKS: Mapping[str, str] = {
    GATE: "What became of the version: champion, in the shadow, or out.",
    "better_than_baselines": "It is better than what anybody could predict without it.",
    "not_worse_than_champion": "On data that neither has seen it does not fall behind the champion.",
    "is_calibrated": "What it expects is what happens.",
    "onnx_says_the_same": "The file that serves says what the model says.",
    "is_fair": "It treats the groups alike that the contract of customers protects.",
    "no_feature_is_newer_than_its_label": "Nothing that was not known at the time taught it.",
    "is_fast": "It scores soon enough for a decision.",
}

Results = Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]


def model_key(name: str) -> dg.AssetKey:
    """Key of the asset that trains a model."""
    return dg.AssetKey(["models", name])


def _model(name: str) -> dg.AssetsDefinition:
    key = model_key(name)

    # Of several outputs, which one may be left out: where nothing can be trained, no demand is made of it.
    @dg.multi_asset(
        name=f"models__{name}",
        specs=[
            dg.AssetSpec(
                key,
                deps=[SNAPSHOT, REGISTRY],
                group_name=GROUP,
                description=f"The model {name}: trained, measured beside baselines, registered, judged by its gate.",
                kinds={"scikitlearn", "mlflow"},
                skippable=True,
            )
        ],
        check_specs=[dg.AssetCheckSpec(check, asset=key, description=said) for check, said in CHECKS.items()],
        can_subset=True,
    )
    def train(context: dg.AssetExecutionContext, workspace: Workspace) -> Results:
        settings, registry = workspace.settings, _registry(workspace.settings)
        asked = {each.name for each in context.selected_asset_check_keys}
        version = digest(_snapshot(settings), training_digest(settings))
        is_known = bool(registry.versions(name)) and unchanged.is_unchanged(context, key, version)
        registered = None if is_known else _trained(settings, name)
        skipped = is_known or (not isinstance(registered, str) and registered is not None and registered.skipped)
        if context.selected_asset_keys:
            metadata = _metadata(registry, name) | {unchanged.SKIPPED: skipped}
            yield dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=dg.DataVersion(version))
        results = _repeated(context, key) if registered is None else _checks(key, registered)
        yield from (result for result in results if result.check_name in asked)

    return train


def _repeated(context: dg.AssetExecutionContext, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    """The last results, of which nothing has changed."""
    for check in CHECKS:
        if last := unchanged.last_evaluation(context.instance, dg.AssetCheckKey(key, check)):
            yield unchanged.repeat_evaluation(last)


def _checks(key: dg.AssetKey, registered: "Registered | str") -> Iterator[dg.AssetCheckResult]:
    """The verdict, and every demand that was made."""
    if isinstance(registered, str):
        yield _result(key, GATE, f"no version was trained: {registered}", passed=False)
        return
    gate = registered.gate
    yield _result(key, GATE, _verdict(registered), passed=gate.passed)
    for demand in CHECKS:
        if made := [each for each in gate.checks if each.demand == demand]:
            table = pd.DataFrame([{"what": each.name, "found": each.outcome, "said": each.message} for each in made])
            missed = [each.message for each in made if each.outcome != "met"]
            more = f"; and {len(made) - 1} more, all met" if len(made) > 1 else ""
            result = _result(key, demand, "; ".join(missed) or made[0].message + more, passed=not missed)
            yield result._replace(metadata={"measured": dg.MetadataValue.md(table.to_markdown(index=False))})


def _result(key: dg.AssetKey, check: str, said: str, *, passed: bool) -> dg.AssetCheckResult:
    """A result that stops nothing: the champion goes on serving."""
    return dg.AssetCheckResult(
        passed=passed, asset_key=key, check_name=check, severity=dg.AssetCheckSeverity.WARN, description=said
    )


def _trained(settings: Settings, name: str) -> "Registered | str":
    """What was registered, or why there is too little to train on: decisions then go on without the model."""
    too_little: type[Exception] = import_module("models.errors").TooLittleDataError
    with explained():
        try:
            train = import_module("models.lifecycle").train_and_register
            registered: Registered = train(settings, name, datetime.now(UTC))
        except too_little as error:
            return str(error)
    return registered


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
        "alias": version.alias or "none",
        "metrics": dict(registry.metrics(version)),
        "mlflow run": version.run_id,
    } | {figure: dg.MetadataValue.md(picture(figure, png)) for figure, png in registry.figures(version).items()}


def _verdict(registered: "Registered") -> str:
    said = {"passed": "becomes champion", "undecided": "goes into the shadow", "failed": "does not become champion"}
    gate = registered.gate
    return f"version {registered.version} {said[gate.verdict]}: {gate.reason}"


@dg.asset(
    key=SCORES,
    deps=[*map(model_key, SCORING), SNAPSHOT],
    group_name=SCORING_GROUP,
    description="What the champions say of every customer: value, churn, segment, best hour and channel, next "
    "category; flows back as features.",
    kinds={"onnx", "parquet"},
)
def customer_scores(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[Any]:
    """Score every customer as of the last midnight."""
    settings = workspace.settings
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    registry = _registry(settings)
    champions = [
        (name, found.version, found.tags.get("gate", ""))
        for name in SCORING
        if (found := registry.champion_version(name))
    ]
    version = digest(
        _snapshot(settings),
        *champions,
        training_digest(settings),
        unchanged.code_digest("models.scoring"),
    )

    def work() -> Mapping[str, Any]:
        score: Callable[[Settings, datetime], Scored] = import_module("models.scoring").score_customers
        with explained():
            scored = score(settings, midnight)
        for name, why in scored.unasked.items():
            context.log.warning("%s: what was said before stays: %s", name, why)
        path = dg.MetadataValue.path(scores_file(settings.marts))
        return {
            "customers": scored.customers,
            "path": path,
            **{f"{name} was not asked": why for name, why in scored.unasked.items()},
        }

    is_present = scores_file(settings.marts).exists()
    return unchanged.materialize(context, SCORES, version, work, is_present=is_present)


def _snapshot(settings: Settings) -> str:
    """The published snapshot: its name is a digest of its rows."""
    return (settings.marts / "current").resolve().name


@dg.definitions
def defs() -> dg.Definitions:
    """An asset per model that the home trains, and the scores."""
    return dg.Definitions(assets=[*map(_model, Settings.from_env().trained), customer_scores])
