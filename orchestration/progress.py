"""What a person sees while a run works, and what is known of it afterwards: both made of the run's events.

Belongs here: turning Dagster's events into lines and counts. Does not belong here: starting the run
(`orchestration.commands`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster import DagsterEvent, DagsterEventType, EventLogEntry
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from orchestration.unchanged import SKIPPED

STAGES = {
    "landing": "landing",
    "import_quality": "quality",
    "landing_quality": "quality",
    "warehouse": "warehouse",
    "reconciliation": "reconciliation",
    "features": "features",
    "models": "training",
    "scoring": "scoring",
    "stability": "stability",
    "serving": "serving",
    "identity": "identity",
    "feedback": "feedback",
}
"""The stage of a step, by the first part of its name."""

_CHECKING = ("quality", "reconciliation")
_DBT_DURATION = "Execution Duration"
"""What dagster-dbt calls dbt's own measure of a model or test."""
_SHOWN = ("received", "landed", "rejected", "customers", "version", "alias", "linked", "waiting for review")


@dataclass
class Progress:
    """Listens to a run: prints a line per finished asset and failed check, and keeps what the report needs."""

    console: Console
    status: Status
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    passed: int = 0
    warned: int = 0
    failed: int = 0
    failure: str | None = None
    dbt_test_seconds: float = 0.0
    dbt_model_seconds: float = 0.0
    _step_began: float = 0.0
    _last: float = 0.0
    _passed_in_step: int = 0

    def __call__(self, entry: EventLogEntry) -> None:
        """Take the next event; the instance calls this as the run goes."""
        event, at = entry.dagster_event, entry.timestamp
        if event is None:
            return
        match event.event_type:
            case DagsterEventType.STEP_START:
                self._step_began = self._last = at
                self._passed_in_step = 0
                self.status.update(f"{event.step_key} …")
            case DagsterEventType.ASSET_MATERIALIZATION:
                self._show(event.step_materialization_data.materialization, at)
            case DagsterEventType.ASSET_CHECK_EVALUATION:
                self._judge(event.asset_check_evaluation_data)
            case DagsterEventType.STEP_SUCCESS | DagsterEventType.STEP_FAILURE:
                self._end(event, at)

    def report(self) -> dict[str, Any]:
        """What was counted: checks, models, seconds by stage, assets that did not change, and what went wrong."""
        return {
            "checks": {"passed": self.passed, "failed": self.failed, "warned": self.warned},
            "models": self.models,
            "seconds": {stage: round(seconds, 2) for stage, seconds in self.seconds.items()},
            **self._cost(),
            "skipped": self.skipped,
            "error": self.failure,
        }

    def _cost(self) -> dict[str, float]:
        """The seconds of all checks of data, and their share of the stages' seconds.

        dbt runs tests and models beside each other: its tests have the part of the warehouse's stage, dbt's own start
        included, that they have of the seconds that dbt measured of both.
        """
        dbt = self.dbt_test_seconds / max(self.dbt_test_seconds + self.dbt_model_seconds, 1e-9)
        steps = sum(self.seconds.get(stage, 0.0) for stage in _CHECKING)
        checks = steps + dbt * self.seconds.get("warehouse", 0.0)
        return {
            "checks_seconds": round(checks, 2),
            "checks_share": round(checks / max(sum(self.seconds.values()), 1e-9), 3),
        }

    def _show(self, materialization: dg.AssetMaterialization, at: float) -> None:
        metadata = {key: value.value for key, value in materialization.metadata.items()}
        name = materialization.asset_key.to_user_string()
        if metadata.get(SKIPPED):
            self.skipped.append(name)
        else:  # a repeated result carries the seconds of long ago
            self.dbt_model_seconds += float(str(metadata.get(_DBT_DURATION, 0)))
        if name.startswith("models/") and "version" in metadata:
            self.models.append(_model(metadata))
        numbers = ", ".join(
            f"{metadata[key]:,} {key}" if isinstance(metadata[key], int) else f"{key} {metadata[key]}"
            for key in _SHOWN
            if key in metadata
        )
        state = "unchanged" if metadata.get(SKIPPED) else f"{at - self._last:.1f} s"
        self.console.print(f"[green]✓[/] {name:<42} [dim]{state:>9}[/]  {numbers}", highlight=False)
        self._last = at

    def _judge(self, evaluation: dg.AssetCheckEvaluation) -> None:
        duration = evaluation.metadata.get(_DBT_DURATION)
        if duration and SKIPPED not in evaluation.metadata:
            self.dbt_test_seconds += float(str(duration.value))
        if evaluation.passed:
            self.passed += 1
            self._passed_in_step += 1
            return
        is_warning = evaluation.severity == dg.AssetCheckSeverity.WARN
        self.warned, self.failed = self.warned + is_warning, self.failed + (not is_warning)
        mark = "[yellow]![/]" if is_warning else "[red]✗[/]"
        name = f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name}"
        self.console.print(f"{mark} {name}  [dim]{escape(evaluation.description or '')}[/]", highlight=False)

    def _end(self, event: DagsterEvent, at: float) -> None:
        group = str(event.step_key).split("__")[0]
        stage = STAGES.get(group, group)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + at - self._step_began
        if self._passed_in_step:
            self.console.print(f"[green]✓[/] {self._passed_in_step} checks of {stage} passed", highlight=False)
        if event.event_type == DagsterEventType.STEP_FAILURE and self.failure is None:
            self.failure = f"{event.step_key}: {_reason(event)}"


def _model(metadata: Mapping[str, Any]) -> dict[str, Any]:
    alias = metadata["alias"]
    return {key: metadata[key] for key in ("name", "version", "metrics")} | {
        "alias": None if alias == "none" else alias
    }


def _reason(event: DagsterEvent) -> str:
    """What went wrong, as said by whoever knew it best."""
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error and error.cause:
        error = error.cause
    return _plain(error.message) if error else "failed"


def _plain(message: str) -> str:
    """A message without the name of Dagster's exception, which says nothing to whoever started the pipeline."""
    return message.strip().removeprefix("dagster._core.errors.DagsterAssetCheckFailedError: ")
