"""`nextbest up` and `status`, where nothing needs to start for the answer."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nextbest.adapters.supervisor import Service, Supervisor, free_ports
from nextbest.commands.processes import status, up
from nextbest.settings import Settings
from nextbest.state import StateUnavailableError
from serving.commands import serve


@pytest.fixture(params=["nobody listens", "it is silent", "no such database"])
def unusable(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a server of State is that cannot be used."""
    if request.param == "no such database":
        server: Any = request.getfixturevalue("redis_server")
        yield f"127.0.0.1:{server.port}/99"
    elif request.param == "it is silent":
        with socket.create_server(("127.0.0.1", 0)) as silent:
            yield f"127.0.0.1:{silent.getsockname()[1]}/0"
    else:
        yield f"127.0.0.1:{free_ports('127.0.0.1', 1)[0]}/0"


@pytest.mark.parametrize("command", [up, serve])
def test_without_its_state_nothing_starts(
    command: Any, unusable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within seconds the setting is named and what to do, and no password; the home is left as it was."""
    monkeypatch.setenv("NEXTBEST_HOME", str(tmp_path))
    monkeypatch.setenv(
        "NEXTBEST_STATE", f"redis://:hush@{unusable}" if "/99" not in unusable else f"redis://{unusable}"
    )
    monkeypatch.setattr("os.execve", lambda *_: pytest.fail("it started"))
    began = time.monotonic()
    result = CliRunner().invoke(command)
    assert time.monotonic() - began < 10
    assert isinstance(result.exception, StateUnavailableError)
    said = str(result.exception)
    assert f"nothing was started: NEXTBEST_STATE is {unusable}, " in said
    assert "hush" not in said
    assert list(Settings.from_env().home.iterdir()) == []


def test_the_status_counts_the_replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that live, whatever was asked for."""
    monkeypatch.setenv("NEXTBEST_HOME", str(tmp_path))
    watched = Supervisor.of(Settings.from_env())
    replica = ["bash", "-c", "exec -a ray::ServeReplica:nextbest:decisions sleep 60"]
    try:
        started = [
            watched.start(Service(name="serving", argv=["sleep", "60"])),
            *(watched.start(Service(name=name, argv=replica)) for name in ("one", "two")),
        ]
        deadline = time.monotonic() + 10
        while (row := _row("serving"))[3] != "2":
            assert time.monotonic() < deadline
        assert row[:3] == ["serving", "up", str(started[0].pid)]
    finally:
        watched.stop_all(grace_s=1)
        for process in started:
            process.wait(timeout=10)


def _row(service: str) -> list[str]:
    rows = map(str.split, CliRunner().invoke(status).stdout.splitlines())
    return next(row for row in rows if row[0] == service)
