"""Starting and ending the processes of one home, so that none is ever left behind.

Belongs here: starting a process with its log file, waiting until it answers, and ending it with everything it started.
Every process inherits a mark of its home in its environment, so that `stop_all` finds even the orphans of a process
that was killed (Ray's and HAProxy's children outlive a killed parent). A command that somebody types marks itself. Does
not belong here: which processes there are.
"""

import errno
import hashlib
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from pathlib import Path

import psutil

from nextbest.errors import NextbestError
from nextbest.settings import Settings

MARK = "NEXTBEST_RUN"
"""Variable that marks every process of a home."""
NAME = "NEXTBEST_SERVICE"
"""Variable that holds a service's name."""
LEADER = "NEXTBEST_LEADER"
"""Variable that holds the id of a service's process that somebody typed: what that starts inherits another's id."""
_LOG_TAIL_LINES = 15
_PORTS = range(31_000, 32_700)


class ServiceError(NextbestError):
    """A process could not be started, or ended when it should run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One long-running process: its command, where it answers, and the page that says it is ready."""

    name: str
    argv: Sequence[str]
    address: str | None = None
    ready_path: str = "/"


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Starts and ends the services of one home.

    Args:
        folder: where log files go; its path is what marks the processes as this home's.
        environment: what every process sees beside the environment of this one.

    """

    folder: Path
    environment: Mapping[str, str]

    @classmethod
    def of(cls, settings: Settings) -> "Supervisor":
        """The supervisor of a home's processes."""
        return cls(settings.run, settings.environment())

    @property
    def mark(self) -> str:
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]

    def log_file(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def child_environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment, MARK: self.mark}

    def service_environment(self, name: str) -> dict[str, str]:
        """What this process must be started anew with to be the service `name`; it keeps its id and its terminal."""
        return {**self.child_environment(), NAME: name, LEADER: str(os.getpid())}

    def become(self, name: str) -> None:
        """Make this command the service `name`, by starting it anew unless it was started as that.

        Others see the environment that a process was started with, and nothing of what it sets later.
        """
        if (os.environ.get(MARK), os.environ.get(NAME)) != (self.mark, name):
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], self.service_environment(name))

    def start(self, service: Service) -> "subprocess.Popen[bytes]":
        """Start `service` in a session of its own, its output in its log file.

        Raises:
            ServiceError: something else listens at its address.

        """
        if service.address and not is_free(_host_and_port(service.address)):
            raise ServiceError(
                f"{service.name} cannot start: something listens at {service.address} already; "
                f"end it (`nextbest down` if it is nextbest's) or choose another port (see `nextbest up --help`)"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_file(service.name).open("wb") as log:
            return subprocess.Popen(
                service.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**self.child_environment(), NAME: service.name},
                start_new_session=True,
            )

    def wait_until_ready(
        self,
        service: Service,
        process: "subprocess.Popen[bytes]",
        timeout_s: float = 120,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Return once the service answers 200 at its page of readiness (at once for a living one without an address).

        Raises:
            ServiceError: it ended, or was not ready in `timeout_s` seconds; the message holds the end of its log.

        """
        deadline = clock() + timeout_s
        while process.poll() is None:
            if self.answers(service):
                return
            if clock() > deadline:
                raise ServiceError(f"{service.name} was not ready in {timeout_s:.0f} s:\n{self._log_tail(service)}")
            time.sleep(0.1)
        raise ServiceError(
            f"{service.name} ended with status {process.returncode}:\n{self._log_tail(service)}\n"
            "mend what it says and start again; if nothing of yours is wrong, a second start may be enough"
        )

    def answers(self, service: Service) -> bool:
        """Whether the service says that it is ready; one without an address is not asked."""
        return not service.address or _answers(f"http://{service.address}{service.ready_path}")

    def running(self) -> list[psutil.Process]:
        """Every living process that carries this home's mark, whoever started it; never this process or its parents."""
        own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        return [process for process in _marked(self.mark) if process.pid not in own]

    def services(self) -> dict[str, int]:
        """The process id of every living service of this home, by name."""
        leaders = [process for process in self.running() if _is_leader(process)]
        return {name: process.pid for process in leaders if (name := _variable(process, NAME))}

    def count(self, title: str) -> int:
        """How many living processes of this home call themselves `title`, or that and more."""
        return sum(_title(process).startswith(title) for process in self.running())

    def services_without(self, variable: str) -> list[str]:
        """The names of living services that were not started with `variable` in their environment."""
        return [name for name, pid in self.services().items() if _variable(psutil.Process(pid), variable) is None]

    def stop_all(self, grace_s: float = 15) -> list[int]:
        """End every process of this home: asked first, and killed after `grace_s` seconds. Returns their ids."""
        ended = self.running()
        leaders = [process for process in ended if _is_leader(process)]
        for process in leaders:
            _quietly(process.terminate)
        psutil.wait_procs(leaders, timeout=grace_s)
        while orphans := self.running():  # what the leaders left, and what those start while they are being ended
            for process in orphans:
                _quietly(process.kill)
            psutil.wait_procs(orphans, timeout=5)
        return [process.pid for process in ended]

    def _log_tail(self, service: Service) -> str:
        lines = self.log_file(service.name).read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return "\n".join(f"  {line}" for line in lines) + f"\n  (all of it: {self.log_file(service.name)})"


def free_ports(host: str, count: int, besides: Collection[int] = ()) -> list[int]:
    """Ports that nobody listens at and that are not kept for another (`besides`), for servers that start a while later.

    They lie below the range from which the system hands out the near ends of outgoing connections (32768 and up on
    Linux, 49152 elsewhere): one of those could be taken before the server starts.
    """
    candidates = secrets.SystemRandom().sample(_PORTS, len(_PORTS))
    return list(islice((port for port in candidates if port not in besides and is_free((host, port))), count))


def is_free(address: tuple[str, int]) -> bool:
    """Whether a server could listen at `address` now.

    Raises:
        ServiceError: no server ever could: the address is not this machine's, or the port is not for everybody.

    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            host, port = address
            raise ServiceError(
                f"nothing can listen at {host}:{port}: {error.strerror}; NEXTBEST_HOST names an address of this machine"
            ) from error
    return True


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        if _variable(process, MARK) == mark:
            yield process


def _variable(process: psutil.Process, name: str) -> str | None:
    """What `process` was started with; None for one that ended, or that is somebody else's."""
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else process.environ().get(name)
    except (psutil.AccessDenied, psutil.NoSuchProcess, OSError):
        return None


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.Error, OSError):
        return ""  # it has ended meanwhile


def _is_leader(process: psutil.Process) -> bool:
    """Whether a service began with this process: in a session of its own, or typed in a terminal."""
    try:
        return os.getsid(process.pid) == process.pid or _variable(process, LEADER) == str(process.pid)
    except OSError:
        return False


def _quietly(signal: Callable[[], None]) -> None:
    try:
        signal()
    except psutil.NoSuchProcess:
        return


def _host_and_port(address: str) -> tuple[str, int]:
    host, port = address.rsplit(":", 1)
    return host, int(port)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  the address is this machine's own
            return int(response.status) == HTTPStatus.OK
    except (OSError, urllib.error.URLError):
        return False
