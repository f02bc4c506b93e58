"""A whole installation as processes that may be hurt: servers, and what they stand on.

Belongs here: starting, finding, killing and restarting them. Does not belong here: in what order that is done to them
(`faults`), or what the home holds (`benchmarks.peers.homes`).
"""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import click
import libfaketime
import psutil

from benchmarks.peers.systems import START_S, Running, System, python, running
from benchmarks.trials.gateway import Gateway
from nextbest.adapters.logs import open_log
from nextbest.adapters.states import open_state
from nextbest.adapters.supervisor import free_ports
from nextbest.learning import COMPLETE, LEARNING
from nextbest.settings import Settings

BACKENDS = ("sqlite", "kafka")
"""Both stores on SQLite in the home; the log on Kafka with State and features on Redis."""
_TOPIC = "nextbest-events"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  nothing is written there
_FILE_BYTES = 4_096
"""Beyond which no file may grow while the disk is full: less than the first page of any of SQLite's."""


class Installation:
    """Everything of one home that runs."""

    def __init__(self, system: System, run: Running, key: str, clock: Path, gateway: Gateway | None) -> None:
        self.settings, self.key = system.settings, key
        self._system, self._run, self._clock, self._gateway = system, run, clock, gateway

    @property
    def url(self) -> str:
        return f"http://{self.settings.host}:{self.settings.http_port}"

    @property
    def way_to_broker(self) -> Gateway:
        """What its broker is reached through.

        Raises:
            LookupError: it has no broker.

        """
        if self._gateway is None:
            raise LookupError("on SQLite there is no broker")
        return self._gateway

    def replica(self) -> psutil.Process:
        """One that decides."""
        return self._run.replica("decisions")

    def processor(self) -> psutil.Process:
        """The one that brings the log into State."""
        return self._run.replica("events")

    def companion(self, name: str) -> psutil.Process:
        """`redis` or `broker`."""
        return self._run.companions[name]

    def python_processes(self) -> list[psutil.Process]:
        """The replicas and the processor."""
        return self._run.replicas()

    def has_all_processes(self) -> bool:
        """Whether every replica and the processor run; those that were killed come back after a while."""
        return len(self._run.replicas("decisions")) >= self.settings.replicas and bool(self._run.replicas("events"))

    async def through(self) -> None:
        """Return once the processor has made of the log what is made of it: State, live features, and learning.

        Raises:
            click.ClickException: it was not in two minutes.

        """
        with closing(open_log(self.settings)) as log, closing(open_state(self.settings)) as state:
            log_id, end, until = await log.log_id(), await log.last_offset(), time.monotonic() + START_S
            while time.monotonic() < until:
                found = await state.projections(log_id)
                learning = [name for name in found if name.startswith(LEARNING)]
                marks = [(await state.projected(name, log_id, [COMPLETE])).values for name in learning]
                has_live = bool(found.keys() - learning)
                if has_live and any(marks) and min(found.values()) >= end:
                    return
                await asyncio.sleep(0.1)
        raise click.ClickException(f"the log was not worked off in {START_S:.0f} s")

    def kill_servers(self) -> None:
        """All of `nextbest serve` at once."""
        companions = {each.pid for each in self._run.companions.values()}
        victims = [each for each in self._run.processes() if each.pid not in companions]
        for each in victims:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(victims, timeout=10)

    def start_servers(self) -> None:
        """Return once they answer."""
        self._run.start(self._system.service)

    def kill_redis(self) -> None:
        victim = self.companion("redis")
        victim.kill()
        psutil.wait_procs([victim], timeout=10)

    def start_redis(self) -> None:
        """On what the one before left behind."""
        self._run.start_redis(self.settings.state_url, self.settings.state / "redis")

    def set_clock(self, offset_s: int) -> None:
        """Move the wall clock of the servers; what they were started with is seconds that go on as they do."""
        self._clock.write_text(f"{offset_s:+d}\n")

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """For as long as the context lasts no file of the replicas and the processor can grow."""
        processes = self.python_processes()
        for each in processes:
            _, hard = each.rlimit(psutil.RLIMIT_FSIZE)
            each.rlimit(psutil.RLIMIT_FSIZE, (_FILE_BYTES, hard))
        try:
            yield
        finally:
            for each in processes:
                with suppress(psutil.NoSuchProcess):
                    _, hard = each.rlimit(psutil.RLIMIT_FSIZE)
                    each.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))


def _moved_by(file: Path) -> Mapping[str, str]:
    """What makes processes read the clock through a library, which moves it as the file says."""
    library = Path(libfaketime.__file__).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",  # seconds
        "DONT_FAKE_MONOTONIC": "1",
    }


def _clear_clocks() -> None:
    """Remove what that library shares between threads, in files that outlive whoever is killed."""
    for file in _SHARED_MEMORY.glob("*faketime_*"):
        process_id = file.name.rpartition("_")[2]
        if process_id.isdecimal() and not psutil.pid_exists(int(process_id)):
            with suppress(OSError):  # somebody else's
                file.unlink()


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """The process neither runs nor ends for as long as the context lasts."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


@contextmanager
def installed(
    backend: str, folder: Path, prepare: Callable[[Settings], Mapping[str, str]], *, has_clock: bool = True
) -> Iterator[Installation]:
    """An installation on one of `BACKENDS`, in a home at `folder`, ready; nothing of it is left afterwards.

    Args:
        backend: Which.
        folder: Of the home; it may hold a policy already.
        prepare: Gives the home what it needs before its servers start; returns the headers of a request.
        has_clock: Whether the servers' clock can be moved; a look at it takes longer then.

    Raises:
        click.ClickException: it does not start.

    """
    http, redis, broker, entrance = free_ports("127.0.0.1", 4)
    clock = folder / "clock"
    folder.mkdir(parents=True, exist_ok=True)
    clock.write_text("+0\n")
    settings = replace(Settings(home=folder), http_port=http, replicas=2)
    gateway = None
    if backend == "kafka":
        settings = replace(
            settings,
            state_url=f"redis://127.0.0.1:{redis}/0",
            log_url=f"kafka://127.0.0.1:{entrance}/{_TOPIC}",
        )
        gateway = Gateway(entrance, broker)
    system = System(
        name=f"nextbest on {backend}",
        settings=settings,
        argv=python("nextbest", "serve"),
        ready_path="/readyz",
        prepare=prepare,
        environment=_moved_by(clock) if has_clock else {},
        broker_port=broker if gateway else 0,
    )
    try:
        with running(system) as (run, headers):
            key = headers["Authorization"].removeprefix("Bearer ")
            yield Installation(system, run, key, clock, gateway)
    finally:
        if gateway:
            gateway.close()
        _clear_clocks()
