"""Writing to SQLite from an event loop: many jobs in few transactions, and nobody kept waiting by somebody else's."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from nextbest.adapters.sqlite import Reader, Schema, Writer, connect

SCHEMA = Schema(1, "CREATE TABLE IF NOT EXISTS numbers (n INTEGER PRIMARY KEY)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "numbers.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    with closing(Writer(path, SCHEMA, 5.0)) as writer:
        yield writer


def insert(connection: sqlite3.Connection, number: int) -> int:
    connection.execute("INSERT OR IGNORE INTO numbers VALUES (?)", (number,))
    return number


def numbers(path: Path) -> set[int]:
    with closing(sqlite3.connect(path)) as connection:
        return {n for (n,) in connection.execute("SELECT n FROM numbers")}


@pytest.mark.parametrize("is_restored", [False, True])
def test_what_is_written_is_in_the_file_that_is_there(writer: Writer, path: Path, *, is_restored: bool) -> None:
    """Not in the one that was removed, or that a copy took the place of, while it was open."""
    reader = Reader(path, SCHEMA)

    async def write(*drawn: int) -> None:
        for number in drawn:
            await writer.run(partial(insert, number=number))

    asyncio.run(write(1))
    writer.submit(partial(insert, number=2)).result()
    assert len(reader.rows("SELECT n FROM numbers")) == 2
    copy = path.with_name("copy.db")
    with closing(connect(copy, SCHEMA, 0.0)) as connection:
        insert(connection, 9)
    for each in (path, *(path.with_name(f"{path.name}-{kind}") for kind in ("wal", "shm"))):
        each.unlink()
    if is_restored:
        copy.rename(path)
    asyncio.run(write(3))
    writer.submit(partial(insert, number=4)).result()
    expected = {3, 4} | ({9} if is_restored else set())
    assert numbers(path) == expected
    assert {n for (n,) in reader.rows("SELECT n FROM numbers")} == expected
    assert {n for (n,) in writer.rows("SELECT n FROM numbers")} == expected
    reader.close()


def test_each_job_gets_its_own_result(writer: Writer, path: Path) -> None:
    """After the commit that holds it: others see what it wrote."""

    async def write() -> list[int]:
        return await asyncio.gather(*(writer.run(partial(insert, number=n)) for n in range(50)))

    assert asyncio.run(write()) == list(range(50))
    assert numbers(path) == set(range(50))


def test_jobs_of_one_turn_share_a_transaction(writer: Writer) -> None:
    """A commit costs the same for one job as for many."""
    seen: list[int] = []

    def job(connection: sqlite3.Connection) -> None:
        insert(connection, len(seen))
        seen.append(connection.total_changes if connection.in_transaction else -1)

    async def write() -> None:
        await writer.run(lambda connection: connection.execute("SELECT 1"))
        await asyncio.gather(*(writer.run(job) for _ in range(3)))

    asyncio.run(write())
    assert seen == [1, 2, 3]


def test_a_job_that_fails_fails_alone(writer: Writer, path: Path) -> None:
    """Those beside it are committed, and nothing of it is."""

    def bad(connection: sqlite3.Connection) -> None:
        insert(connection, 13)
        raise ValueError("bad luck")

    async def write() -> list[object]:
        jobs = (writer.run(lambda c: insert(c, 1)), writer.run(bad), writer.run(lambda c: insert(c, 2)))
        return list(await asyncio.gather(*jobs, return_exceptions=True))

    first, failure, second = asyncio.run(write())
    assert (first, second) == (1, 2)
    assert isinstance(failure, ValueError)
    assert numbers(path) == {1, 2}


def test_the_event_loop_goes_on_while_another_process_writes(writer: Writer, path: Path) -> None:
    """A job waits on the thread for a file that is held, and comes to its result once it is let go."""

    async def write() -> int:
        await writer.run(lambda c: insert(c, 0))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.ensure_future(writer.run(lambda c: insert(c, 1)))
            turns = 0
            for _ in range(20):
                await asyncio.sleep(0.005)
                turns += 1
            assert not waiting.done()
            other.execute("COMMIT")
        assert await waiting == 1
        return turns

    assert asyncio.run(write()) == 20
    assert numbers(path) == {0, 1}


def test_a_transaction_of_another_process_is_waited_for_in_turns(writer: Writer, path: Path) -> None:
    """Short ones, as another replica writes: jobs stay in the event loop, and those that came meanwhile share one."""
    changes: list[int] = []

    def job(connection: sqlite3.Connection) -> str:
        insert(connection, len(changes))
        changes.append(connection.total_changes if connection.in_transaction else -1)
        return threading.current_thread().name

    async def write() -> Sequence[str]:
        await writer.run(lambda connection: connection.execute("SELECT 1"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            first = asyncio.ensure_future(writer.run(job))
            await asyncio.sleep(0.005)
            second = asyncio.ensure_future(writer.run(job))
            await asyncio.sleep(0.005)
            assert not first.done()
            other.execute("COMMIT")
            return (await first, await second)

    assert set(asyncio.run(write())) == {threading.main_thread().name}
    assert changes == [1, 2]


def test_a_loop_that_ended_keeps_no_later_one_waiting(writer: Writer, path: Path) -> None:
    """What it left behind is not run, and the next one's jobs are."""

    async def leave() -> None:
        await writer.run(lambda c: insert(c, 0))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.005):
                    await writer.run(lambda c: insert(c, 1))

    async def write() -> int:
        return await writer.run(lambda c: insert(c, 2))

    asyncio.run(leave())
    assert asyncio.run(write()) == 2
    assert numbers(path) == {0, 2}


def test_a_file_that_is_held_too_long_is_an_error(path: Path) -> None:
    """The patience given is over; the next job succeeds once the file is free."""

    async def write(writer: Writer) -> int:
        await writer.run(lambda c: insert(c, 0))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                await writer.run(lambda c: insert(c, 1))
        return await writer.run(lambda c: insert(c, 2))

    with closing(Writer(path, SCHEMA, 0.05)) as writer:
        assert asyncio.run(write(writer)) == 2
    assert numbers(path) == {0, 2}


def test_nobody_waits_for_a_job_that_was_cancelled(writer: Writer) -> None:
    """It is not run where its turn has not come, and those beside it are."""

    async def write() -> object:
        cancelled = asyncio.ensure_future(writer.run(lambda c: insert(c, 1)))
        kept = asyncio.ensure_future(writer.run(lambda c: insert(c, 2)))
        await asyncio.sleep(0)
        cancelled.cancel()
        return (await asyncio.gather(cancelled, kept, return_exceptions=True))[1]

    assert asyncio.run(write()) == 2


@pytest.mark.parametrize("held_s", [0.0, 0.01, 0.1], ids=["free", "in turns", "by the thread"])
def test_whoever_stops_waiting_knows_what_was_written(writer: Writer, path: Path, held_s: float) -> None:
    """A cancelled job is not written, or its result is there: whatever is told of it is true."""
    written: list[int] = []

    async def write(number: int, patience_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                written.append(await writer.run(partial(insert, number=number)))

    async def rush() -> None:
        await writer.run(lambda c: insert(c, 0))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            for batch in range(20):
                if held_s and not batch % 5:
                    other.execute("BEGIN IMMEDIATE")
                    asyncio.get_running_loop().call_later(held_s, other.execute, "COMMIT")
                numbers = range(1 + 50 * batch, 51 + 50 * batch)
                await asyncio.gather(*(write(n, 0.0001 * (n % 10) + held_s * (n % 3) / 2) for n in numbers))
            await asyncio.sleep(2 * held_s)

    asyncio.run(rush())
    assert len(written) > 0
    assert numbers(path) == {0, *written}


def test_the_write_ahead_log_stays_small_while_somebody_always_writes(
    writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins anew although no moment comes in which all of it was written back."""
    monkeypatch.setattr("nextbest.adapters.sqlite._MOST_FRAMES", 100)

    async def write() -> int:
        end_s, number = time.monotonic() + 2.5, 0
        while time.monotonic() < end_s:
            number += 1
            await writer.run(partial(insert, number=number))
        return number

    pages = asyncio.run(write())  # at the least: each write is of one
    assert path.with_name(f"{path.name}-wal").stat().st_size < 0.7 * 4_096 * pages


def test_the_write_ahead_log_does_not_grow_for_ever(writer: Writer, path: Path) -> None:
    """The thread brings it into the file while the loop goes on writing."""

    async def write() -> None:
        for number in range(3):
            for n in range(500):
                await writer.run(partial(insert, number=number * 500 + n))
            await asyncio.sleep(0.6)
        await writer.empty_write_ahead_log()

    asyncio.run(write())
    assert path.with_name("numbers.db-wal").stat().st_size == 0
    assert len(numbers(path)) == 1_500


def test_whoever_no_longer_waits_for_an_empty_write_ahead_log_does_no_harm(writer: Writer, path: Path) -> None:
    """The thread, which would have told them, goes on with the work of others."""

    async def write() -> None:
        release = threading.Event()
        held = writer.submit(lambda _: release.wait(10.0))
        asked = asyncio.ensure_future(writer.empty_write_ahead_log())
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        release.set()
        await asyncio.wrap_future(held)
        assert await asyncio.wait_for(asyncio.wrap_future(writer.submit(partial(insert, number=7))), 10.0) == 7

    asyncio.run(write())
    assert numbers(path) == {7}
