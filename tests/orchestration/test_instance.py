"""Tests of `orchestration.instance`."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from subprocess import PIPE

import dagster as dg
import psutil
import pytest
import yaml
from click.testing import CliRunner
from dagster import DagsterRunStatus
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage

from nextbest.adapters.supervisor import MARK, NAME, Supervisor
from nextbest.commands.processes import interface_services
from nextbest.settings import Settings
from orchestration.commands import dagster
from orchestration.instance import StorageError, end_dead_runs, open_instance, write_configuration

_HANGS = """
import sys, time, subprocess, uuid
import dagster as dg
from pathlib import Path
from orchestration.instance import RUN_MARK
import os

@dg.op(pool="warehouse")
def hang():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(sys.argv[1]).write_text(str(child.pid))
    time.sleep(600)

@dg.job(executor_def=dg.in_process_executor)
def hanging():
    hang()

run_id = str(uuid.uuid4())
os.environ[RUN_MARK] = run_id
hanging.execute_in_process(instance=dg.DagsterInstance.get(), run_id=run_id)
"""

_OPENS = """
import sys, time
from dagster._core.storage.runs.sqlite import sqlite_run_storage as runs
from nextbest.settings import Settings
from orchestration.instance import open_instance

look = runs.check_alembic_revision

def look_and_wait(*arguments):
    seen = look(*arguments)
    time.sleep(0.5)  # what was seen may not hold any more, as on a busy machine
    return seen

runs.check_alembic_revision = look_and_wait
print("ready", flush=True)
sys.stdin.readline()
open_instance(Settings.from_env()).dispose()
"""


@pytest.mark.integration
def test_who_starts_at_once_makes_one_storage(tmp_path: Path) -> None:
    """The UI and its daemon, of two `nextbest up` even, find no home and are not in each other's way."""
    environment = {**os.environ, **Settings(home=tmp_path).environment()}
    command = [sys.executable, "-c", _OPENS]
    with ExitStack() as ended:
        opening = [
            ended.enter_context(subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, text=True))
            for _ in range(4)
        ]
        for process in opening:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in opening:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.wait() for process in opening] == [0, 0, 0, 0]


def test_who_is_killed_while_it_makes_the_storage_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is half made is not the storage: the next one makes it anew, and leaves nothing beside it."""
    settings = Settings(home=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(SqliteScheduleStorage, "from_local", _killed)
        with pytest.raises(KeyboardInterrupt):
            _open(settings, patch)
    assert not (settings.dagster_home / "storage").exists()
    with _open(settings, monkeypatch) as instance:
        assert instance.get_runs() == []
    assert not (settings.dagster_home / ".storage").exists()


def test_a_broken_storage_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As two who made it at once used to leave it."""
    settings = Settings(home=tmp_path)
    _open(settings, monkeypatch).dispose()
    with closing(sqlite3.connect(settings.dagster_home / "storage/schedules/schedules.db")) as broken, broken:
        broken.execute("INSERT INTO alembic_version VALUES ('another')")
    with pytest.raises(StorageError, match=r"move \S+/dagster/storage away"):
        _open(settings, monkeypatch)


@pytest.mark.integration
def test_a_killed_run_is_ended(tmp_path: Path) -> None:
    """A run whose process was killed is marked as failed, its child ended, its place in the pool given back."""
    settings, started = Settings(home=tmp_path), tmp_path / "child.pid"
    write_configuration(settings)
    environment = {**os.environ, **settings.environment()}
    process = subprocess.Popen([sys.executable, "-c", _HANGS, str(started)], env=environment)
    _wait_for(started)
    process.send_signal(signal.SIGKILL)
    while _is_running(process.pid):  # nobody has asked for its status: a dead one that is still listed is no run
        time.sleep(0.01)
    with pytest.MonkeyPatch.context() as patch, _open(settings, patch) as instance:
        (run,) = instance.get_runs()
        assert instance.event_log_storage.get_concurrency_info("warehouse").active_run_ids == {run.run_id}
        assert end_dead_runs(instance) == [run.run_id]
        (run,) = instance.get_runs()
        assert run.status == DagsterRunStatus.FAILURE
        assert not instance.event_log_storage.get_concurrency_run_ids()
        assert end_dead_runs(instance) == []
    process.wait()
    assert not _is_running(int(started.read_text()))


@pytest.mark.parametrize("part", ["ui", "daemon"])
def test_dead_runs_are_ended_before_dagster_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Whoever starts the UI after a crash can run something at once, and `nextbest down` finds what was started."""
    started: list[Mapping[str, str]] = []
    settings = Settings(home=tmp_path)
    monkeypatch.setattr(os, "execve", lambda _, __, environment: started.append(environment))
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    with _open(settings, monkeypatch) as instance:
        instance.add_run(dg.DagsterRun("pipeline", status=DagsterRunStatus.STARTED))
    result = CliRunner().invoke(dagster, [part])
    assert result.exit_code == 0, result.output
    ((mark, name),) = [(environment[MARK], environment[NAME]) for environment in started]
    assert mark == Supervisor.of(settings).mark
    assert name in {service.name for service in interface_services(settings)}
    with _open(settings, monkeypatch) as instance:
        assert [run.status for run in instance.get_runs()] == [DagsterRunStatus.FAILURE]


def test_a_living_run_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a process that runs, such as this one, is nobody's to end."""

    @dg.op
    def look(context: dg.OpExecutionContext) -> None:
        assert end_dead_runs(context.instance) == []

    @dg.job(executor_def=dg.in_process_executor)
    def looking() -> None:
        look()

    with _open(Settings(home=tmp_path), monkeypatch) as instance:
        assert looking.execute_in_process(instance=instance).success


def test_the_configuration_is_dagsters(tmp_path: Path) -> None:
    """The file is what the instance is made from: pools of one, no telemetry, everything below the home."""
    settings = Settings(home=tmp_path)
    write_configuration(settings)
    written = yaml.safe_load((settings.dagster_home / "dagster.yaml").read_text())
    assert written["concurrency"]["pools"]["default_limit"] == 1
    assert written["telemetry"]["enabled"] is False
    assert Path(written["storage"]["sqlite"]["base_dir"]).is_relative_to(settings.state)


def _open(settings: Settings, patch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    patch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    return open_instance(settings)


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def _is_running(pid: int) -> bool:
    """Whether it has not ended; one that waits for its parent to ask for its status has."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait_for(path: Path, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.1)
