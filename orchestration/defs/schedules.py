"""Schedules. Belongs here: when jobs run by the clock."""

import dagster as dg

from orchestration.defs.jobs import pipeline

daily = dg.build_schedule_from_partitioned_job(pipeline)
