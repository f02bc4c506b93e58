"""Schedules. Belongs here: when jobs run by the clock."""

import dagster as dg

from nextbest.adapters.log_landing import days_to_land
from orchestration.defs.jobs import PIPELINE, TRAINING
from orchestration.defs.partitions import run_tags, today
from orchestration.defs.resources import Workspace
from orchestration.defs.upkeep import UPKEEP


@dg.schedule(
    name="daily_pipeline",
    job_name=PIPELINE,
    cron_schedule="0 4 * * *",
    execution_timezone="UTC",
    # Whoever opens the UI of the demo has not asked for runs at night: it is switched on there.
    default_status=dg.DefaultScheduleStatus.STOPPED,
)
def daily_pipeline(workspace: Workspace) -> dg.RunRequest:
    """Everything, once a day when yesterday is complete, with every day whose feedback has not landed."""
    with workspace.log() as log:
        days = days_to_land(log, workspace.door())
    return dg.RunRequest(tags=run_tags([*days, today()]))


nightly_upkeep = dg.ScheduleDefinition(
    name="nightly_upkeep",
    job_name=UPKEEP,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    # How long something is kept is promised, and costs seconds a night to keep.
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

weekly_training = dg.ScheduleDefinition(
    name="weekly_training",
    job_name=TRAINING,
    cron_schedule="0 5 * * 1",
    execution_timezone="UTC",
    # The daily pipeline trains on what has changed; this is for who runs that by parts, without the models.
    default_status=dg.DefaultScheduleStatus.STOPPED,
)
