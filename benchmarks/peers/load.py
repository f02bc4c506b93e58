"""The load: wrk, which sends requests as fast as they are answered and says how long each took.

Belongs here: starting wrk and reading what it found (`load.lua` writes the requests). Does not belong here: who is
measured, or in what order.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from benchmarks.peers.customers import CUSTOMERS

_DECISIONS = Path(__file__).with_name("load.lua")
_EVENTS = Path(__file__).with_name("events.lua")
_MARK = "FIGURES "
_ANSWER_S = 10
"""An answer that takes longer is an error."""
_SLACK_S = 30
_THREADS = 2


class Cell(msgspec.Struct, frozen=True):
    """What so many connections found.

    `errors` counts sockets that failed or timed out, and statuses of 400 and more (none of these servers redirects);
    `rps` counts the other answers.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    rps: float
    errors: int


class _Figures(msgspec.Struct):
    p50_us: int
    p95_us: int
    p99_us: int
    requests: int
    duration_us: int
    socket: int
    status: int


@dataclass(frozen=True, slots=True)
class Load:
    """A load on one server. Every run has a seed of its own, the same for every server."""

    url: str
    headers: Mapping[str, str]
    events: int = 0
    """How many events a request brings; 0 where it asks for a decision."""

    def run(self, connections: int, seconds: int, seed: int) -> tuple[Cell, int]:
        """What was found, and how many requests were answered.

        Raises:
            click.ClickException: wrk failed.

        """
        command = self.command(connections, seconds, seed)
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _SLACK_S, check=True)
        except subprocess.CalledProcessError as error:
            raise click.ClickException(f"wrk failed: {error.stderr or error.stdout}") from error
        return parse(ended.stdout)

    @contextmanager
    def beside(self, connections: int, seconds: int, seed: int) -> Iterator["subprocess.Popen[bytes]"]:
        """The load while what is inside the context takes place; ended with it."""
        command = self.command(connections, seconds, seed)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.terminate()

    def command(self, connections: int, seconds: int, seed: int) -> list[str]:
        """How wrk is started."""
        options = {
            "t": min(_THREADS, connections),
            "c": connections,
            "d": f"{seconds}s",
            "s": _EVENTS if self.events else _DECISIONS,
        }
        words = [word for name, value in options.items() for word in (f"-{name}", str(value))]
        named = [word for name, value in self.headers.items() for word in ("-H", f"{name}: {value}")]
        asked = [str(number) for number in (CUSTOMERS, seed, *([self.events] if self.events else []))]
        return [find_wrk(), *words, "--timeout", f"{_ANSWER_S}s", *named, self.url, "--", *asked]


def parse(output: str) -> tuple[Cell, int]:
    """The figures that the script wrote into wrk's output, and the number of answers."""
    [line] = [line for line in output.splitlines() if line.startswith(_MARK)]
    found = msgspec.json.decode(line.removeprefix(_MARK), type=_Figures)
    cell = Cell(
        p50_ms=found.p50_us / 1_000,
        p95_ms=found.p95_us / 1_000,
        p99_ms=found.p99_us / 1_000,
        rps=round(1_000_000 * (found.requests - found.status) / found.duration_us, 1),
        errors=found.socket + found.status,
    )
    return cell, found.requests


def find_wrk() -> str:
    """Where wrk is.

    Raises:
        click.ClickException: it is not installed.

    """
    path = shutil.which("wrk")
    if path is None:
        raise click.ClickException(
            "the load comes from wrk, which is not on PATH: `apt-get install wrk` on Debian and Ubuntu, "
            "`brew install wrk` on macOS"
        )
    return path


def wrk_version() -> str:
    """The first words that wrk says of itself."""
    said = subprocess.run([find_wrk(), "-v"], capture_output=True, text=True, check=False)
    return " ".join((said.stdout + said.stderr).split()[:2])
