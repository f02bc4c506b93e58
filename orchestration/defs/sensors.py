"""Sensors. Belongs here: what starts a run, or tells somebody, because something happened."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import msgspec
from dagster import DagsterRunStatus, RunsFilter

from nextbest.adapters.inbox import ready
from nextbest.adapters.log_landing import arrivals, days_to_land
from orchestration.alerts import alert
from orchestration.defs.inbox import INBOX
from orchestration.defs.jobs import FEEDBACK
from orchestration.defs.partitions import run_tags
from orchestration.defs.resources import Workspace
from orchestration.unchanged import digest

UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
]
_PAUSE = timedelta(minutes=10)
"""Between a run that failed and the next try: what is broken is seldom mended within a minute."""


@dg.sensor(
    job_name=FEEDBACK,
    minimum_interval_seconds=30,
    # What was decided and what came of it should be seen without a click; a landing costs seconds.
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def new_events(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.RunRequest | dg.SkipReason:
    """Land the days whose arrivals have not landed; the cursor names what the log held when everything had."""
    if context.instance.get_runs_count(RunsFilter(statuses=UNFINISHED)):
        return dg.SkipReason("a run is in progress: what arrived is landed afterwards")
    if _failed_lately(context.instance, FEEDBACK):
        return dg.SkipReason("the last try failed a moment ago")
    with workspace.log() as log:
        held = digest(*arrivals(log))
        if held == context.cursor:
            return dg.SkipReason("nothing new in the event log")
        days = days_to_land(log, workspace.door())
    if not days:
        context.update_cursor(held)
        return dg.SkipReason("all that arrived has landed")
    return dg.RunRequest(tags=run_tags(days))


@dg.sensor(
    job_name=INBOX,
    minimum_interval_seconds=30,
    # Whoever drops a file has asked for it.
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def new_files(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.RunRequest | dg.SkipReason:
    """Land the files that are ready; the cursor names those of the last try: what it left waits, unless others came."""
    files = {str(path) for path in ready(workspace.settings.inbox, datetime.now(UTC))}
    if not files:
        return dg.SkipReason("no file is ready in the inbox")
    if context.instance.get_runs_count(RunsFilter(job_name=INBOX, statuses=UNFINISHED)):
        return dg.SkipReason("a run is in progress: what is ready is landed afterwards")
    if files <= {*msgspec.json.decode(context.cursor or "[]")} and _failed_lately(context.instance, INBOX):
        return dg.SkipReason("files are left of a try that failed a moment ago")
    context.update_cursor(msgspec.json.encode(sorted(files)).decode())
    return dg.RunRequest()


def _failed_lately(instance: dg.DagsterInstance, job: str) -> bool:
    lately = datetime.now(UTC) - _PAUSE
    return (
        instance.get_runs_count(RunsFilter(job_name=job, statuses=[DagsterRunStatus.FAILURE], updated_after=lately)) > 0
    )


@dg.run_failure_sensor(
    name="failed_runs",
    # A run of the command line belongs to no code location; what it has told already is not told twice.
    monitor_all_code_locations=True,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def failed_runs(context: dg.RunFailureSensorContext, workspace: Workspace) -> None:
    """Tell the receiver of `NEXTBEST_ALERT_WEBHOOK`, if there is one."""
    alert(workspace.settings, context.instance, context.dagster_run)
