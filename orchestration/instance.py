"""The Dagster instance of a home: its configuration, and the runs that a killed process left behind.

Belongs here: what concerns the instance as a whole. Does not belong here: any definition.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
from alembic.util import CommandError
from dagster import DagsterEventType, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy.exc import SQLAlchemyError

from nextbest.errors import NextbestError
from nextbest.settings import Settings

RUN_MARK = "NEXTBEST_PIPELINE_RUN"
"""Variable by which the child processes of a run are known, so that those of a killed run can be ended."""

_CONFIGURATION = """\
# Written by nextbest when it starts a pipeline or the UI; edits are overwritten.
telemetry:
  enabled: false
nux:  # no invitation to a newsletter before the first look
  enabled: false
# DuckDB lets one process write: steps of one pool run one after the other, also across runs.
concurrency:
  pools:
    default_limit: 1
    granularity: op
# Runs start at once, without a daemon in between; what they must not do together, the pools keep apart.
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
storage:
  sqlite:
    base_dir: {base_dir}
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days:
      skipped: 1
      failure: 30
      success: 90
"""


class StorageError(NextbestError):
    """Dagster's storage cannot be used; the message says what to do."""


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The home's instance, configured, with its storage; sets `DAGSTER_HOME`, which Dagster itself reads.

    Raises:
        StorageError: the storage is broken.

    """
    write_configuration(settings)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    storage = _storage(settings)
    try:
        with (settings.dagster_home / ".storage.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two who make the tables at once are in each other's way
            if not storage.exists():
                _create(storage)
            return dg.DagsterInstance.get()
    except (SQLAlchemyError, CommandError) as error:
        raise StorageError(
            f"Dagster's storage cannot be opened ({str(error).splitlines()[0]}): try again, and if that does not help, "
            f"`nextbest down`, move {storage} away and start anew: only the history of runs is lost"
        ) from error


def _create(storage: Path) -> None:
    """Make the files aside and move them in by one rename: whoever is killed meanwhile leaves nothing half made."""
    draft = storage.with_name(".storage")
    shutil.rmtree(draft, ignore_errors=True)
    DagsterSqliteStorage.from_local(str(draft)).dispose()
    draft.rename(storage)


def _storage(settings: Settings) -> Path:
    return settings.dagster_home / "storage"


def write_configuration(settings: Settings) -> None:
    """Write `dagster.yaml` where Dagster looks for it; replaced at once, so that no reader sees half of it."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    draft = home / f".dagster.yaml.{os.getpid()}"
    draft.write_text(_CONFIGURATION.format(base_dir=_storage(settings)))
    draft.replace(home / "dagster.yaml")


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark as failed the runs whose process is gone, end their children and give back their pool slots.

    A killed process cannot say so itself: without this its run would show as running for ever and hold the warehouse's
    pool. Returns the ids of those runs.
    """
    unfinished = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    dead = [run for run in instance.get_runs(RunsFilter(statuses=unfinished)) if not _is_alive(instance, run)]
    for run in dead:
        _end_children(run.run_id)
        instance.report_run_failed(run, "The process of this run was killed.")
    unfinished_ids = {run.run_id for run in instance.get_runs(RunsFilter(statuses=unfinished))}
    for run_id in instance.event_log_storage.get_concurrency_run_ids() - unfinished_ids:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return [run.run_id for run in dead]


def _is_alive(instance: dg.DagsterInstance, run: DagsterRun) -> bool:
    """Whether the process that said it executes the run still runs; its id may belong to a later process by now."""
    for entry in reversed(instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)):
        metadata = entry.get_dagster_event().engine_event_data.metadata
        if "pid" in metadata:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(int(str(metadata["pid"].value)))
                return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= entry.timestamp
            return False
    return False


def _end_children(run_id: str) -> None:
    children = list(_children(run_id))
    for process in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(children, timeout=10)


def _children(run_id: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(RUN_MARK) == run_id:
                yield process
        except (psutil.Error, OSError):
            continue
