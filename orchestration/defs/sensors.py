"""Sensors. Belongs here: what starts a run because something happened."""

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from orchestration.defs.feedback import arrivals
from orchestration.defs.jobs import FEEDBACK
from orchestration.defs.partitions import run_tags
from orchestration.defs.resources import Workspace

_UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
]


@dg.sensor(
    job_name=FEEDBACK,
    minimum_interval_seconds=60,
    # What was decided and what came of it should be seen without a click; a landing costs seconds.
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def new_events(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.RunRequest | dg.SkipReason:
    """Land what the event log received since the last look; the cursor is the offset seen last."""
    if context.instance.get_runs_count(RunsFilter(statuses=_UNFINISHED)):
        return dg.SkipReason("a run is in progress: what arrived is landed afterwards")
    with workspace.log() as log:
        new = list(arrivals(log, after=int(context.cursor or 0)))
    if not new:
        return dg.SkipReason("nothing new in the event log")
    context.update_cursor(str(new[-1][0]))
    return dg.RunRequest(run_key=f"log-{new[-1][0]}", tags=run_tags({day for _, day, _ in new}))
