"""The faults: what is done to an installation while its traffic goes on, and undone again.

Belongs here: one function per fault, which returns once everything runs again. Does not belong here: whether
everything is well afterwards (`audit`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import click
import httpx

from benchmarks.trials.installation import BACKENDS, Installation, stopped
from benchmarks.trials.poison import poison

_RECOVERY_S = 60.0
_LOOK_S = 0.1
_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, to whom, and on which backends it can."""

    name: str
    says: str
    strike: Callable[[Installation, float], None]
    """Lasts for about so many seconds."""
    backends: tuple[str, ...] = BACKENDS


def _nothing(_: Installation, lasts_s: float) -> None:
    time.sleep(lasts_s)


def _replica_killed(at: Installation, lasts_s: float) -> None:
    at.replica().kill()
    time.sleep(lasts_s)


def _processor_killed(at: Installation, lasts_s: float) -> None:
    at.processor().kill()
    time.sleep(lasts_s)


def _processor_stopped(at: Installation, lasts_s: float) -> None:
    with stopped(at.processor()):
        time.sleep(lasts_s)


def _redis_killed(at: Installation, lasts_s: float) -> None:
    at.kill_redis()
    time.sleep(lasts_s)
    at.start_redis()


def _all_killed(at: Installation, lasts_s: float) -> None:
    at.kill_servers()
    if at.settings.state_url:
        at.kill_redis()
    time.sleep(lasts_s)
    if at.settings.state_url:
        at.start_redis()
    at.start_servers()


def _broker_stopped(at: Installation, lasts_s: float) -> None:
    with stopped(at.companion("broker")):
        time.sleep(lasts_s)


def _broker_cut_off(at: Installation, lasts_s: float) -> None:
    with at.way_to_broker.being("silent"):
        time.sleep(lasts_s)


def _broker_refusing(at: Installation, lasts_s: float) -> None:
    with at.way_to_broker.being("refusing"):
        time.sleep(lasts_s)


def _disk_full(at: Installation, lasts_s: float) -> None:
    with at.full_disk():
        time.sleep(lasts_s)


def _clock_jumps(at: Installation, lasts_s: float) -> None:
    """Back by two minutes, ahead by twenty, and right again: within what a channel's clock may differ, and beyond."""
    for offset_s in (-2 * _MINUTES, 20 * _MINUTES, 0):
        at.set_clock(offset_s)
        time.sleep(lasts_s / 2.0)


def _poisoned(at: Installation, lasts_s: float) -> None:
    poison(at.settings)
    time.sleep(lasts_s)


FAULTS = (
    Fault("nothing", "no fault: what the others are compared with", _nothing),
    Fault("replica_killed", "kill -9 of the replica that decides", _replica_killed),
    Fault("processor_killed", "kill -9 of the event processor", _processor_killed),
    Fault("processor_stopped", "the event processor stands still", _processor_stopped),
    Fault("redis_killed", "kill -9 of Redis, which comes back on its append-only file", _redis_killed, ("kafka",)),
    Fault("broker_stopped", "the broker stands still (SIGSTOP)", _broker_stopped, ("kafka",)),
    Fault("broker_cut_off", "nothing reaches the broker, and nothing comes back", _broker_cut_off, ("kafka",)),
    Fault("broker_refusing", "the broker refuses every connection", _broker_refusing, ("kafka",)),
    Fault("disk_full", "no file can grow", _disk_full),
    Fault("clock_jumps", "the servers' clock goes back, ahead, and right again", _clock_jumps),
    Fault("poison", "a record that means nothing is in the log", _poisoned),
    Fault("all_killed", "kill -9 of everything at once but the broker", _all_killed),
)


def wait_until_whole(at: Installation) -> None:
    """Return once every process runs and decisions are complete again.

    Raises:
        click.ClickException: it does not come to that within a minute.

    """
    deadline = time.monotonic() + _RECOVERY_S
    said = ""
    with httpx.Client(base_url=at.url, timeout=5.0) as client:
        while time.monotonic() < deadline:
            try:
                response = client.get("/readyz")
                said = response.text
                if response.status_code == httpx.codes.OK and at.has_all_processes():
                    return
            except httpx.TransportError as error:
                said = repr(error)
            time.sleep(_LOOK_S)
    raise click.ClickException(f"the servers have not recovered: {said}")
