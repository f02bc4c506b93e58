"""The event log on SQLite: one file that many processes append to and read.

Belongs here: the file's one table. SQLite admits one writing transaction at a time over all processes, so offsets
become visible in their order. Does not belong here: what the records mean, or how commits are grouped
(`nextbest.adapters.sqlite`).
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from nextbest.adapters.sqlite import PATIENCE_S, Reader, Schema, Writer
from nextbest.envelope import Envelope, decode, encode
from nextbest.log import Appended, LogUnavailableError

_TABLES = """
CREATE TABLE IF NOT EXISTS records (
  position    INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id    TEXT NOT NULL UNIQUE,
  decision_id TEXT,
  envelope    TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_decision ON records (decision_id) WHERE decision_id IS NOT NULL;
"""
_SCHEMA = Schema(1, _TABLES)
_INSERT = """
INSERT INTO records (event_id, decision_id, envelope) VALUES (?, ?, ?)
ON CONFLICT (event_id) DO NOTHING RETURNING position
"""
_POSITION = "SELECT position FROM records WHERE event_id = ?"
_READ = "SELECT position, envelope FROM records WHERE position > ? ORDER BY position LIMIT ?"
_LAST = "SELECT coalesce(max(position), 0) FROM records"
_ABOUT_DECISION = "SELECT position, envelope FROM records WHERE decision_id = ? ORDER BY position"

_Row = tuple[str, str | None, str]


class SqliteLog:
    """An `EventLog` in the file at `path`; the `_sync` methods are for callers without an event loop.

    Writes fail when another process holds the file for `patience_s` seconds.
    """

    def __init__(self, path: Path, patience_s: float = PATIENCE_S) -> None:
        self._writer = Writer(path, _SCHEMA, patience_s)
        self._reader = Reader(path, _SCHEMA)

    async def append(self, records: Sequence[Envelope], *, together: bool = False) -> Appended:
        with _unavailable():
            return await asyncio.wrap_future(self._submit(records, together=together))

    def append_sync(self, records: Sequence[Envelope]) -> Appended:
        with _unavailable():
            return self._submit(records, together=False).result()

    async def read(self, after: int, limit: int) -> list[tuple[int, Envelope]]:
        return self.read_sync(after, limit)

    def read_sync(self, after: int, limit: int) -> list[tuple[int, Envelope]]:
        return self._read(_READ, (after, limit))

    async def last_offset(self) -> int:
        with _unavailable():
            return self._reader.run(lambda connection: int(connection.execute(_LAST).fetchone()[0]))

    async def about_decision(self, decision_id: str) -> list[tuple[int, Envelope]]:
        return self._read(_ABOUT_DECISION, (decision_id,))

    def close(self) -> None:
        self._writer.close()
        self._reader.close()

    def _submit(self, records: Sequence[Envelope], *, together: bool) -> "Future[Appended]":
        rows = [(record.event_id, record.decision_id, encode(record).decode()) for record in records]
        return self._writer.submit(lambda connection: _insert(connection, rows, together=together))

    def _read(self, query: str, parameters: tuple[object, ...]) -> list[tuple[int, Envelope]]:
        with _unavailable():
            rows = self._reader.run(lambda connection: connection.execute(query, parameters).fetchall())
        return [(position, decode(text)) for position, text in rows]


def _insert(connection: sqlite3.Connection, rows: Sequence[_Row], *, together: bool) -> Appended:
    offsets: list[int] = []
    duplicates: set[str] = set()
    for row in rows:
        inserted = connection.execute(_INSERT, row).fetchone()
        if inserted is None:
            duplicates.add(row[0])
            inserted = connection.execute(_POSITION, row[:1]).fetchone()
            if together and not offsets:
                return Appended(offsets=inserted * len(rows), duplicates=frozenset(row[0] for row in rows))
        offsets.append(inserted[0])
    return Appended(offsets=tuple(offsets), duplicates=frozenset(duplicates))


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LogUnavailableError(f"the event log cannot be used: {error}") from error
