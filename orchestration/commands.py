"""`nextbest pipeline`: everything once, in this process, as a Dagster run; `nextbest dagster`: the UI that shows it.

Belongs here: starting the run, its progress and its report; starting the UI. Does not belong here: what runs
(`orchestration.defs`). Dagster takes seconds to import: commands import it when they run, so that `--help` does not.
"""

# ruff: noqa: PLC0415  the reason is above

import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
from rich.console import Console

from nextbest.adapters.locks import alone
from nextbest.adapters.supervisor import Supervisor
from nextbest.commands.parameters import ReportFile
from nextbest.errors import NextbestError
from nextbest.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from orchestration.defs.resources import Workspace
    from orchestration.progress import Progress


EVERYTHING = "*"


class PipelineError(NextbestError):
    """A step failed; the message is the step's."""


@click.command()
@click.option("--json", "report", type=ReportFile(), help="Write what was done to this file.")
@click.option(
    "--select", default=EVERYTHING, help='Only these assets, in Dagster\'s syntax: `group:landing`, `key:"marts/*"+`.'
)
@click.option(
    "--full", is_flag=True, help="Do all work, also what did not change; no model is trained twice on the same data."
)
def pipeline(report: Path | None, select: str, *, full: bool) -> None:
    """Land, build, check, train, score and hand over: everything between the source and serving.

    What did not change since the last run is not done again. The run is in the Dagster UI afterwards (`nextbest up`).

    \b
    Example: nextbest pipeline
             nextbest pipeline --select 'group:feedback' --json report.json
    """  # noqa: D301  click reads the control character
    settings = Settings.from_env()
    log = settings.run / "pipeline.log"
    refusal = PipelineError(f"a pipeline runs already in {settings.home}: wait until it has ended")
    with alone(settings.run / "pipeline.lock", refusal), _output_to(log) as terminal:
        progress, result = run(settings, Console(file=terminal, soft_wrap=True), select=select, full=full)
    if report:
        report.write_text(json.dumps(result, indent=2) + "\n")
    if not result["ok"]:
        raise PipelineError(f"{progress.failure or 'the run failed'}\n(what every step printed: {log})")


@click.command()
@click.argument("part", type=click.Choice(["ui", "daemon"]))
def dagster(part: str) -> None:
    """Run the Dagster UI, or the daemon behind its schedules and sensors, on this home until interrupted.

    Example: nextbest dagster ui
    """
    from orchestration.instance import end_dead_runs, open_instance

    settings = Settings.from_env()
    with open_instance(settings) as instance:
        end_dead_runs(instance)  # or what is started in the UI would wait for their place in the pool for ever
    definitions = ["-m", "orchestration.definitions"]
    bind = ["--host", settings.host, "--port", str(settings.dagster_port)]
    module = {
        "ui": ["orchestration.webserver", *definitions, *bind],
        "daemon": ["dagster._daemon", "run", *definitions],
    }
    environment = Supervisor.of(settings).service_environment(f"dagster-{part}")
    os.execve(sys.executable, [sys.executable, "-m", *module[part]], environment)


def run(
    settings: Settings, console: Console, *, select: str = EVERYTHING, full: bool = False
) -> tuple["Progress", dict[str, Any]]:
    """Run the job `pipeline` in this process, for every day of the event log that has not landed.

    Returns:
        What was listened to, and the report.

    """
    from orchestration.alerts import alert
    from orchestration.definitions import defs
    from orchestration.defs.jobs import PIPELINE
    from orchestration.defs.resources import Workspace
    from orchestration.instance import RUN_MARK, end_dead_runs, open_instance
    from orchestration.progress import Progress
    from orchestration.unchanged import FULL_TAG

    run_id = str(uuid.uuid4())
    os.environ[RUN_MARK] = run_id
    workspace = Workspace()
    with console.status("starting …") as status, open_instance(settings) as instance:
        progress = Progress(console, status)
        end_dead_runs(instance)
        definitions = defs()
        instance.add_event_listener(run_id, progress)
        result = definitions.resolve_job_def(PIPELINE).execute_in_process(
            run_id=run_id,
            instance=instance,
            asset_selection=_selected(select, definitions),
            tags=_days(workspace) | ({FULL_TAG: "true"} if full else {}),
            run_config={"loggers": {"console": {"config": {"log_level": "WARNING"}}}},
            raise_on_error=False,
        )
        if not result.success and (failed := instance.get_run_by_id(run_id)):
            alert(settings, instance, failed)
    return progress, {"ok": result.success, "run_id": run_id, "landed": _landed(workspace), **progress.report()}


def _selected(select: str, definitions: "dg.Definitions") -> "list[dg.AssetKey] | None":
    """The assets that `select` names, and what is made in one step with them; None for all: the job as it is."""
    import dagster as dg

    if select == EVERYTHING:
        return None
    graph = definitions.resolve_asset_graph()
    try:
        named = dg.AssetSelection.from_string(select).required_multi_asset_neighbors()
        found = sorted(named.resolve(graph))
    except dg.DagsterError as error:
        raise click.BadParameter(str(error), param_hint="--select") from error
    if not found:  # which Dagster would take for all of them
        groups = sorted({node.group_name for node in graph.asset_nodes if node.group_name})
        raise click.BadParameter(
            f"{select} names no asset: there are the groups {', '.join(groups)}; keys are in Dagster's UI, and "
            "NEXTBEST_MODELS may leave a model out",
            param_hint="--select",
        )
    return found


def _days(workspace: "Workspace") -> dict[str, str]:
    """The tags of a run for today and every day whose arrivals in the event log have not landed."""
    from nextbest.adapters.log_landing import days_to_land
    from orchestration.defs.partitions import run_tags, today

    with workspace.log() as log:
        return run_tags([*days_to_land(log, workspace.door()), today()])


def _landed(workspace: "Workspace") -> dict[str, dict[str, int]]:
    """What has landed under each contract, from every source and the event log."""
    door = workspace.door()
    receipts = {name: door.receipts(name) for name in workspace.contracts()}
    return {
        name: {key: sum(getattr(each, key) for each in own) for key in ("received", "landed", "rejected")}
        for name, own in receipts.items()
    }


@contextmanager
def _output_to(path: Path) -> Iterator[TextIO]:
    """Send what this process and its children print to a file, and yield the terminal.

    Redirected below Python, because dbt, Feast and Dagster's own log capture write to the file descriptors.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    with path.open("wb") as file, os.fdopen(os.dup(1), "w") as terminal:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield terminal
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in enumerate(before, start=1):
                os.dup2(original, descriptor)
                os.close(original)
