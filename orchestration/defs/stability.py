"""Stability: whether customers are as they were at a model's last training, and answer as its champion expects.

Belongs here: a check per model, beside those of its gate, and the sensor that starts a training when one fails. Does
not belong here: the measures (`models.stability`), or training (`orchestration.defs.training`).
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
from dagster import RunsFilter

from models.inputs import READINGS
from nextbest.adapters.learned import in_use
from nextbest.adapters.states import open_state
from nextbest.drift import LEAST_ROWS
from nextbest.moments import to_microseconds
from nextbest.settings import Settings
from nextbest.situation import PROPENSITY
from orchestration import unchanged
from orchestration.defs.features import SNAPSHOT
from orchestration.defs.jobs import TRAINING
from orchestration.defs.resources import Workspace
from orchestration.defs.sensors import UNFINISHED
from orchestration.defs.training import model_key
from orchestration.failures import explained
from orchestration.pictures import shares
from orchestration.unchanged import digest

if TYPE_CHECKING:
    from models.calibration import Labels
    from models.stability import Answers, Shift
    from models.versions import Version

CUSTOMERS, LABELS, ANSWERS = "customers_are_as_they_were", "labels_are_as_expected", "answers_are_as_expected"
_DESCRIPTIONS = {
    CUSTOMERS: "Every feature of the champion is there, distributed as at the model's last training (PSI, KS).",
    LABELS: "What came of the labels since the champion was measured is what it expects of them.",
    ANSWERS: "What comes of decisions is what the champion expects of them: in sum, and of every action.",
}
_SHOWN = 10

Results = Iterator[dg.AssetCheckResult]


def specs(models: Sequence[str]) -> list[dg.AssetCheckSpec]:
    """The checks of these models."""
    return [
        dg.AssetCheckSpec(name, asset=model_key(model), additional_deps=[SNAPSHOT], description=_DESCRIPTIONS[name])
        for model in models
        for name, is_made in (
            (CUSTOMERS, READINGS[model].service != ""),
            (LABELS, READINGS[model].time != ""),
            (ANSWERS, model == PROPENSITY),
        )
        if is_made
    ]


def step(checks: Sequence[dg.AssetCheckSpec]) -> dg.AssetChecksDefinition:
    """The step that makes the checks."""

    @dg.multi_asset_check(name="stability", specs=checks, can_subset=True)
    def stability(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> Results:
        """Compare today's population with that last trained for, and answers with what was expected of them."""
        for spec in checks:
            if spec.key in context.selected_asset_check_keys:
                yield from _MADE_BY[spec.name](workspace, spec, spec.asset_key.path[-1])

    return stability


def _customers(workspace: Workspace, spec: dg.AssetCheckSpec, model: str) -> Results:
    """Of a model without a champion, nothing.

    A training asks whether anything is better than the champion for the customers of its day. Once it has, whether the
    champion was replaced or not, only that they have moved since asks anew. A champion that somebody made one later, by
    a rollback say, was chosen beside that training: an older population would start another at once, to undo it.
    """
    settings, measures = workspace.settings, import_module("models.stability")
    with explained():
        registry = import_module("models.registry").Registry(settings)
        version, last = registry.champion_version(model), registry.last_judged(model)
        before = version and last and registry.population(last)
        if not before:
            return
        described, _ = registry.artifacts(version)
        now = measures.population(settings, described)
    found: list[Shift] = measures.shifts(before, now)
    shifted = [shift for shift in found if shift.is_another_population]
    gone: list[str] = measures.gone(before, now, described)
    table = pd.DataFrame([{"feature": s.feature, "PSI": s.psi, "KS": s.ks} for s in found[:_SHOWN]])
    metadata: dict[str, Any] = {
        "champion": version.version,
        "compared with the training of": last.version,
        "features": len(found),
        "customers": len(now),
    }
    if found:
        worst = found[0]
        metadata["furthest"] = dg.MetadataValue.md(table.to_markdown(index=False))
        metadata["distribution"] = dg.MetadataValue.md(shares(worst.feature, worst.before, worst.now))
    moved = ", ".join(f"{s.feature} (PSI {s.psi:.2f}, KS {s.ks:.2f})" for s in shifted[:_SHOWN])
    said = (
        f"{len(shifted)} of {len(found)} features are of another population than version {last.version} was "
        f"trained for: {moved}"
        if shifted
        else f"{len(found)} features of {len(now):,} customers are as they were when version {last.version} was trained"
    )
    if gone:
        said = f"no mart has {', '.join(gone[:_SHOWN])} any more ({len(gone)} features that the champion takes); {said}"
    yield _result(spec, f"champion is version {version.version}; {said}", metadata, passed=not shifted and not gone)


def _labels(workspace: Workspace, spec: dg.AssetCheckSpec, model: str) -> Results:
    """Of a champion whose newest label is not known, nothing; features are joined only where there are newer ones."""
    settings = workspace.settings
    with explained():
        version = import_module("models.registry").Registry(settings).champion_version(model)
        since = version and version.labels_until
        if not since:
            return
        times = import_module("models.stability").label_times(settings, model)
        customers = times[times > since].index.nunique()
        found = _said_by_labels(settings, version, since) if customers >= LEAST_ROWS else []
    off = [each for each in found if each.is_off]
    metadata: dict[str, Any] = {"champion": version.version, "labels after": f"{since}", "customers": customers}
    if found:
        rows = [
            {
                "measure": each.measure,
                "rows": each.rows,
                "expected": each.expected,
                "came": each.happened,
                "off by": str(each.bias),
                "at most": each.limit,
            }
            for each in found
        ]
        metadata["labels"] = dg.MetadataValue.md(pd.DataFrame(rows).to_markdown(index=False))
    said = "; ".join(
        f"{each.expected:.4g} is expected of a row where {each.happened:.4g} came: {each.measure} is off by "
        f"{each.bias}, and may be by {each.limit:g}"
        for each in off
    )
    if not off:
        are = "as expected" if any(each.is_told for each in found) else "too few to tell"
        said = f"labels of {customers:,} customers after {since:%Y-%m-%d} are {are}"
    yield _result(spec, f"champion is version {version.version}; {said}", metadata, passed=not off)


def _said_by_labels(settings: Settings, version: "Version", since: datetime) -> "list[Labels]":
    """Nothing where it takes more of them to measure by."""
    too_little: type[Exception] = import_module("models.errors").TooLittleDataError
    try:
        found: list[Labels] = import_module("models.lifecycle").labels(settings, version, since)
    except too_little:
        return []
    return found


def _answers(workspace: Workspace, spec: dg.AssetCheckSpec, _: str) -> Results:
    settings, now = workspace.settings, datetime.now(UTC)
    with explained(), workspace.log() as log, closing(open_state(settings)) as state:
        known = asyncio.run(in_use(settings, state, log, now))
    if known is None:
        return
    told = known.learned.statistics(known.policy.arbitration.rewards, to_microseconds(now))
    found: list[Answers] = import_module("models.stability").answers(told)
    off = [each for each in found if each.is_off]
    table = pd.DataFrame(
        [
            {
                "action": each.action or "all of them",
                "contacts": each.contacts,
                "expected": each.expected,
                "came": each.observed,
                "standard deviations": each.deviations,
            }
            for each in found[: _SHOWN + 1]
        ]
    )
    metadata = {"answers": dg.MetadataValue.md(table.to_markdown(index=False))} if found else {}
    said = "; ".join(
        f"{each.action or 'all actions'}: {each.observed:.1f} came where {each.expected:.1f} were expected"
        for each in off[:_SHOWN]
    )
    contacts = found[0].contacts if found else 0.0
    yield _result(spec, said or f"{contacts:,.0f} contacts were answered as expected", metadata, passed=not off)


_MADE_BY: Mapping[str, Callable[[Workspace, dg.AssetCheckSpec, str], Results]] = {
    CUSTOMERS: _customers,
    LABELS: _labels,
    ANSWERS: _answers,
}


def _result(spec: dg.AssetCheckSpec, said: str, metadata: dict[str, Any], *, passed: bool) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=passed,
        asset_key=spec.asset_key,
        check_name=spec.name,
        severity=dg.AssetCheckSeverity.WARN,
        description=said,
        metadata=metadata,
    )


@dg.sensor(
    name="drifted_models",
    job_name=TRAINING,
    minimum_interval_seconds=60,
    # It starts nothing unless a pipeline has found a drift; a training of what has not changed ends at once.
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def drifted_models(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.RunRequest | dg.SkipReason:
    """Train anew when a check of stability failed; the cursor names the failures that were answered already."""
    checks = [spec.key for spec in specs(workspace.settings.trained)]
    last = {key: unchanged.last_evaluation(context.instance, key) for key in checks}
    failed = [f"{key.to_user_string()}: {each.description}" for key, each in last.items() if each and not each.passed]
    snapshot = (workspace.settings.marts / "current").resolve().name
    drift = digest(snapshot, *failed)
    if not failed:
        return dg.SkipReason("customers, labels and answers are as the champions expect")
    if drift == context.cursor:
        return dg.SkipReason("a training has answered this drift already")
    if context.instance.get_runs_count(RunsFilter(statuses=UNFINISHED)):
        return dg.SkipReason("a run is in progress")
    context.update_cursor(drift)
    return dg.RunRequest(tags={"nextbest/why": "; ".join(failed)[:200]})


@dg.definitions
def defs() -> dg.Definitions:
    """One step for all checks, and the sensor."""
    return dg.Definitions(asset_checks=[step(specs(Settings.from_env().trained))], sensors=[drifted_models])
