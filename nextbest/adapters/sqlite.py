"""What the SQLite adapters share: connections, and a writer thread that commits in groups.

Belongs here: how a file is opened (WAL, so that readers and the writer never wait for one another;
`synchronous=NORMAL`, so that what is committed survives the death of any process) and how the writes of one process
become few transactions. Does not belong here: any table.
"""

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nextbest.adapters.files import FOR_ALL

T = TypeVar("T")
Parameters = Sequence[object] | Mapping[str, object]

PATIENCE_S = 10.0
"""How long a writer waits for another process's transaction, unless it is told otherwise."""
_READ_TIMEOUT_S = 0.25  # a reader waits only while another process opens, recovers or closes the file


_TURN_S, _TURNS_S = 0.001, 0.05
"""An event loop that finds another process writing tries again after so long, and for so long, before a thread waits:
SQLite's own waiting grows to a tenth of a second, a hundred times as long as a transaction takes."""
_WRITE_BACK_S = 0.5
_MOST_FRAMES = 8_192
"""Of the write-ahead log, 32 MB: while somebody writes all the time it is never written back to its end, at which alone
it begins anew, unless the writers are held off."""


class Schema(NamedTuple):
    """The statements that make a file of this version, and those that bring one of another version there first."""

    version: int
    tables: str
    upgrade: str = ""
    mode: int = FOR_ALL
    """Of the file, when it is made; what SQLite puts beside it has the same."""


def connect(path: Path, schema: Schema, timeout_s: float) -> sqlite3.Connection:
    """A connection to the file at `path`, made with `schema` when it does not exist or is of another version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if schema.mode != FOR_ALL:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, schema.mode))  # SQLite would make one for all
    connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA secure_delete = ON")  # what was erased is not to be read from the file's free pages
    if _version(connection) != schema.version:
        _make(connection, schema)
    return connection


def _which(path: Path) -> tuple[int, int] | None:
    """Which file is at `path`: what is written to one that another has taken the place of is lost with it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _make(connection: sqlite3.Connection, schema: Schema) -> None:
    """One transaction, whichever of several processes comes first; a script of SQLite's would be none."""
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) != schema.version:
        for statement in f"{schema.upgrade}{schema.tables}".split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {schema.version}")
    connection.execute("COMMIT")


class Reader:
    """One connection for reads, opened when first used and again after an error; threads take turns."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def rows(self, query: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """The rows of one query: all it reads, however many tables that are, is of the same moment.

        Raises:
            sqlite3.Error: the file cannot be read.

        """
        with self._lock:
            try:
                if self._connection is not None and _which(self._path) != self._file:
                    self._close()
                if self._connection is None:
                    self._connection = connect(self._path, self._schema, _READ_TIMEOUT_S)
                    self._file = _which(self._path)
                return self._connection.execute(query, parameters).fetchall()
            except (sqlite3.Error, OSError) as error:
                self._close()
                raise sqlite3.OperationalError(f"{self._path}: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _WriteBack(NamedTuple):
    """Word to the thread to bring what was committed from the write-ahead log into the file."""

    mode: str
    done: "Future[None]"


class _Job(NamedTuple):
    run: Callable[[sqlite3.Connection], Any]
    done: "Future[Any]"


@dataclass(slots=True, eq=False)
class _Waiting:
    run: Callable[[sqlite3.Connection], Any]
    done: "asyncio.Future[Any]"
    handed: "Future[Any] | None" = None
    """What it comes to in the thread, once that has it."""

    @property
    def is_awaited(self) -> bool:
        return not (self.done.done() or self.done.get_loop().is_closed())


class Writer:
    """Runs jobs in the order they come, as many in one transaction as have come meanwhile.

    A commit costs the same for one job as for hundreds. Jobs of an event loop run in it, at the end of its turn: a
    transaction takes less time than handing it to a thread and back; while another process writes, its next turns are
    tried. Whenever that cannot be, since the file is held for longer or a job fails, a thread runs them, which may
    wait, and in which a job that raises undoes only its own writes. A job may be run again, so it must come to the same
    when it is.
    """

    def __init__(self, path: Path, schema: Schema, patience_s: float = PATIENCE_S) -> None:
        self._path = path
        self._schema = schema
        self._patience_s = patience_s
        self._jobs: queue.SimpleQueue[_Job | _WriteBack | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._work, name=f"writer of {path.name}", daemon=True)
        self._thread.start()
        self._waiting: list[_Waiting] = []
        self._in_loop: sqlite3.Connection | None = None
        self._file_in_loop: tuple[int, int] | None = None
        self._turn_of: asyncio.AbstractEventLoop | None = None
        """The loop at the end of whose turn those that wait are run."""
        self._busy_until: float | None = None
        self._written_back = 0.0

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `job`, after the commit that holds it; for one event loop at a time.

        Where it is cancelled, nothing was written; once something was, there is the result, and no cancelling.

        Raises:
            sqlite3.Error: the transaction could not be committed.

        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(job, loop.create_future())
        self._waiting.append(waiting)
        if self._turn_of is not loop:
            self._turn_of = loop
            loop.call_soon(self._end_turn)
        try:
            result: T = await waiting.done
        except asyncio.CancelledError:
            result = await self._come_to(waiting)
        return result

    async def _come_to(self, cancelled: _Waiting) -> Any:
        """What was committed before it was to be cancelled.

        Raises:
            asyncio.CancelledError: nothing was.

        """
        if not cancelled.done.cancelled():
            return cancelled.done.result()
        if cancelled.handed is None or cancelled.handed.cancel():
            raise asyncio.CancelledError
        return await asyncio.wrap_future(cancelled.handed)  # under way: the file is waited for no more

    def rows(self, query: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """What `Reader.rows` would return, for the event loop.

        Another connection would have to read every page anew that this one has just written.

        Raises:
            sqlite3.Error: the file cannot be read without waiting.

        """
        try:
            return self._opened_in_loop().execute(query, parameters).fetchall()
        except (sqlite3.Error, OSError) as error:
            self._discard_in_loop()
            raise sqlite3.OperationalError(f"{self._path}: {error}") from error

    async def empty_write_ahead_log(self) -> None:
        """Leave nothing in it of what was in the file before, unless somebody reads it still.

        Raises:
            sqlite3.Error: the file cannot be used.

        """
        asked = _WriteBack("TRUNCATE", Future())
        self._jobs.put(asked)
        await asyncio.wrap_future(asked.done)

    def submit(self, job: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Queue `job` for the thread; its future raises `sqlite3.Error` when the transaction could not be committed."""
        done: Future[T] = Future()
        self._jobs.put(_Job(job, done))
        return done

    def close(self) -> None:
        """Commit what is queued and end the thread."""
        self._jobs.put(None)
        self._thread.join()
        if self._in_loop is not None:
            self._in_loop.close()

    def _end_turn(self) -> None:
        """Run what has come in this turn of the event loop, or leave it to a later turn or the thread."""
        self._turn_of = None
        waiting, self._waiting = [each for each in self._waiting if each.is_awaited], []
        try:
            connection = self._opened_in_loop()
            if not self._begins(connection):
                self._waiting, self._turn_of = waiting, asyncio.get_running_loop()
                self._turn_of.call_later(_TURN_S, self._end_turn)
                return
            results = [each.run(connection) for each in waiting]
            connection.execute("COMMIT")
        except Exception:  # noqa: BLE001  whatever it is, the thread finds out which job it belongs to
            self._discard_in_loop()
            for each in waiting:
                each.handed = self.submit(each.run)
                _chain(each.handed, each.done)
            return
        for each, result in zip(waiting, results, strict=True):
            each.done.set_result(result)
        self._write_back_now_and_then()

    def _begins(self, connection: sqlite3.Connection) -> bool:
        """Whether a transaction has begun; not yet, while another process writes.

        Raises:
            sqlite3.OperationalError: it has been writing for too long to be waited for here.

        """
        now = time.monotonic()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            if self._busy_until is None:
                self._busy_until = now + _TURNS_S
            if now < self._busy_until:
                return False
            self._busy_until = None
            raise
        self._busy_until = None
        return True

    def _opened_in_loop(self) -> sqlite3.Connection:
        if self._in_loop is not None and _which(self._path) != self._file_in_loop:
            self._discard_in_loop()
        if self._in_loop is None:
            self._in_loop = connect(self._path, self._schema, 0.0)
            self._file_in_loop = _which(self._path)
            self._in_loop.execute("PRAGMA wal_autocheckpoint = 0")  # it waits for the disk
        return self._in_loop

    def _discard_in_loop(self) -> None:
        if self._in_loop is not None:
            self._in_loop.close()
            self._in_loop = None

    def _write_back_now_and_then(self) -> None:
        if (now := time.monotonic()) - self._written_back > _WRITE_BACK_S:
            self._written_back = now
            self._jobs.put(_WriteBack("PASSIVE", Future()))

    def _work(self) -> None:
        is_open = True
        while is_open:
            queued = [self._jobs.get()]
            while not self._jobs.empty():
                queued.append(self._jobs.get())
            is_open = None not in queued
            jobs = [job for job in queued if isinstance(job, _Job) and not job.done.cancelled()]
            if jobs:
                self._commit(jobs)
            for each in queued:
                if isinstance(each, _WriteBack):
                    self._write_back(each)
        self._discard_connection()

    def _write_back(self, asked: _WriteBack) -> None:
        if not asked.done.set_running_or_notify_cancel():
            return  # whoever asked has gone
        try:
            connection = self._opened()
            _, frames, _ = connection.execute(f"PRAGMA wal_checkpoint({asked.mode})").fetchone()
            if frames > _MOST_FRAMES:
                connection.execute("PRAGMA wal_checkpoint(RESTART)")
        except (sqlite3.Error, OSError) as error:
            asked.done.set_exception(sqlite3.OperationalError(f"{self._path}: {error}"))
        else:
            asked.done.set_result(None)

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            # Until here the file was waited for, and whoever does not want to wait any longer may go.
            jobs = [job for job in jobs if job.done.set_running_or_notify_cancel()]
            results = [_attempt(connection, job) for job in jobs]
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._discard_connection()
            failure = sqlite3.OperationalError(f"{self._path}: {error}")
            for job in jobs:
                if job.done.running() or job.done.set_running_or_notify_cancel():
                    job.done.set_exception(failure)
            return
        for job, (result, raised) in zip(jobs, results, strict=True):
            if raised is None:
                job.done.set_result(result)
            else:
                job.done.set_exception(raised)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and _which(self._path) != self._file:
            self._discard_connection()
        if self._connection is None:
            self._connection = connect(self._path, self._schema, self._patience_s)
            self._file = _which(self._path)
        return self._connection

    def _discard_connection(self) -> None:
        """Close the connection, which undoes an open transaction; the next job opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _chain(job: "Future[Any]", waiting: "asyncio.Future[Any]") -> None:
    """What the thread's job comes to is what is waited for."""
    asyncio.wrap_future(job).add_done_callback(lambda done: _tell(done, waiting))


def _tell(done: "asyncio.Future[Any]", waiting: "asyncio.Future[Any]") -> None:
    if waiting.done() or done.cancelled():
        return
    failure = done.exception()
    if failure is None:
        waiting.set_result(done.result())
    else:
        waiting.set_exception(failure)


def _attempt(connection: sqlite3.Connection, job: _Job) -> tuple[Any, Exception | None]:
    connection.execute("SAVEPOINT job")
    try:
        result = job.run(connection)
    except Exception as failure:  # noqa: BLE001  it belongs to whoever waits for the future
        connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        return None, failure
    connection.execute("RELEASE job")
    return result, None
