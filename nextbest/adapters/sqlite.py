"""What the SQLite adapters share: connections, and a writer thread that commits in groups.

Belongs here: how a file is opened (WAL, so that readers and the writer never wait for one another;
`synchronous=NORMAL`, so that what is committed survives the death of any process) and how the writes of one process
become few transactions. Does not belong here: any table.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

PATIENCE_S = 10.0
"""How long a writer waits for another process's transaction, unless it is told otherwise."""
_READ_TIMEOUT_S = 0.25  # a reader waits only while another process opens, recovers or closes the file


class Schema(NamedTuple):
    """The statements that make a file of this version, and those that bring one of another version there first."""

    version: int
    tables: str
    upgrade: str = ""


def connect(path: Path, schema: Schema, timeout_s: float) -> sqlite3.Connection:
    """A connection to the file at `path`, made with `schema` when it does not exist or is of another version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA secure_delete = ON")  # what was erased is not to be read from the file's free pages
    if _version(connection) != schema.version:
        _make(connection, schema)
    return connection


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


def write_back(path: Path) -> None:
    """Bring what was committed from the write-ahead log into the file and empty the log, where nobody is reading it.

    Raises:
        sqlite3.Error: the file cannot be used.

    """
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class Reader:
    """One connection for reads, opened when first used and again after an error; threads take turns."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `job`, all of whose statements see the same moment.

        Raises:
            sqlite3.Error: the file cannot be read.

        """
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = connect(self._path, self._schema, _READ_TIMEOUT_S)
                self._connection.execute("BEGIN")
                result = job(self._connection)
                self._connection.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                self._close()
                raise sqlite3.OperationalError(f"{self._path}: {error}") from error
            return result

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Job(NamedTuple):
    run: Callable[[sqlite3.Connection], Any]
    done: "Future[Any]"


class Writer:
    """A thread that runs jobs in the order submitted, as many in one transaction as have queued up meanwhile.

    A commit costs the same for one job as for hundreds. A job that raises undoes only its own writes; a future is done
    after the commit that holds its job.
    """

    def __init__(self, path: Path, schema: Schema, patience_s: float = PATIENCE_S) -> None:
        self._path = path
        self._schema = schema
        self._patience_s = patience_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._work, name=f"writer of {path.name}", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Queue `job`; its future raises `sqlite3.Error` when the transaction could not be committed."""
        done: Future[T] = Future()
        self._jobs.put(_Job(job, done))
        return done

    def close(self) -> None:
        """Commit what is queued and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        is_open = True
        while is_open:
            queued = [self._jobs.get()]
            while not self._jobs.empty():
                queued.append(self._jobs.get())
            is_open = None not in queued
            self._commit([job for job in queued if job is not None and job.done.set_running_or_notify_cancel()])
        self._discard_connection()

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            if self._connection is None:
                self._connection = connect(self._path, self._schema, self._patience_s)
            self._connection.execute("BEGIN IMMEDIATE")
            results = [_attempt(self._connection, job) for job in jobs]
            self._connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._discard_connection()
            for job in jobs:
                job.done.set_exception(sqlite3.OperationalError(f"{self._path}: {error}"))
            return
        for job, (result, failure) in zip(jobs, results, strict=True):
            if failure is None:
                job.done.set_result(result)
            else:
                job.done.set_exception(failure)

    def _discard_connection(self) -> None:
        """Close the connection, which undoes an open transaction; the next job opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


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
