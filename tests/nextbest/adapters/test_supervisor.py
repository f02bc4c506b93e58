"""Starting and ending real processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nextbest.adapters.supervisor import Service, ServiceError, Supervisor, free_ports

SLEEP = "import time; time.sleep(60)"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); {SLEEP}"

TYPED = f"""
import signal, subprocess, sys, time
from pathlib import Path
from nextbest.adapters.supervisor import Supervisor
Supervisor(Path(sys.argv[1]), {{}}).become("typed")
subprocess.Popen([sys.executable, '-c', {SLEEP!r}])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("asked", flush=True)))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    watched = Supervisor(tmp_path / "run", {"NEXTBEST_TEST": "1"})
    yield watched
    watched.stop_all(grace_s=1)


def python(name: str, code: str, address: str | None = None) -> Service:
    return Service(name=name, argv=[sys.executable, "-c", code], address=address)


def free_address() -> str:
    return f"127.0.0.1:{free_ports('127.0.0.1', 1)[0]}"


def wait_for_processes(supervisor: Supervisor, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(supervisor.running()) != count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def reap(process: "subprocess.Popen[bytes]") -> None:
    process.wait(timeout=10)


def test_a_service_is_ready_once_it_answers(supervisor: Supervisor) -> None:
    """Waiting ends when the page of readiness says 200, with the environment handed down."""
    address = free_address()
    code = f"""
import http.server, os
assert os.environ["NEXTBEST_TEST"] == "1"
http.server.HTTPServer(("127.0.0.1", {address.split(":")[1]}), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
    service = python("web", code, address)
    process = supervisor.start(service)
    supervisor.wait_until_ready(service, process, timeout_s=20)
    supervisor.stop_all()
    reap(process)


def test_a_taken_port_is_said_before_anything_starts(supervisor: Supervisor) -> None:
    """A port that something listens at names itself and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ServiceError, match=f"something listens at {address}"):
            supervisor.start(python("web", SLEEP, address))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.77"])
def test_an_address_of_another_machine_is_said(supervisor: Supervisor, host: str) -> None:
    """It is not called taken: the setting is named that is wrong."""
    with pytest.raises(ServiceError, match=rf"nothing can listen at {host}:8000: .*NEXTBEST_HOST"):
        supervisor.start(python("web", SLEEP, f"{host}:8000"))


def test_a_service_that_ends_shows_the_end_of_its_log(supervisor: Supervisor) -> None:
    """A process that dies while it is awaited says why, out of its own log, and what to do then."""
    service = python("broken", "raise SystemExit('no such table')", free_address())
    process = supervisor.start(service)
    with pytest.raises(ServiceError, match=r"status 1:\n  no such table\n(.*\n)+.*start again"):
        supervisor.wait_until_ready(service, process, timeout_s=20)


def test_a_service_without_an_address_that_ended_is_not_up(supervisor: Supervisor) -> None:
    """Nothing can be asked of it but whether it lives."""
    service = python("broken", "raise SystemExit('no such table')")
    process = supervisor.start(service)
    reap(process)
    with pytest.raises(ServiceError, match="status 1:\n  no such table"):
        supervisor.wait_until_ready(service, process)


def test_orphans_of_a_killed_process_are_ended(supervisor: Supervisor) -> None:
    """What a killed process leaves behind is found by its mark and ended."""
    process = supervisor.start(python("parent", PARENT))
    wait_for_processes(supervisor, 2)
    os.kill(process.pid, signal.SIGKILL)
    reap(process)
    assert len(supervisor.running()) == 1
    supervisor.stop_all(grace_s=0.5)
    assert supervisor.running() == []


def test_a_service_that_somebody_typed_is_one_of_the_home(supervisor: Supervisor) -> None:
    """It is known by its name and asked to end; it stays in its terminal's session, and its child is no service."""
    command = [sys.executable, "-c", TYPED, str(supervisor.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert (os.getsid(process.pid), os.getpgid(process.pid)) == (os.getsid(0), os.getpgid(0))
        assert len(supervisor.running()) == 2
        assert supervisor.services() == {"typed": process.pid}
        supervisor.stop_all()
        assert process.stdout.read() == b"asked\n"
    assert supervisor.running() == []


def test_only_this_home_is_ended(supervisor: Supervisor, tmp_path: Path) -> None:
    """Processes of another home go on."""
    other = Supervisor(tmp_path / "other", {})
    mine, theirs = supervisor.start(python("mine", SLEEP)), other.start(python("theirs", SLEEP))
    supervisor.stop_all()
    reap(mine)
    assert [process.pid for process in other.running()] == [theirs.pid]
    other.stop_all()
    reap(theirs)
