"""The event log on SQLite: one file that many processes append to and read.

Belongs here: the file's tables. SQLite admits one writing transaction at a time over all processes, so offsets
become visible in their order. Does not belong here: what the records mean, or how commits are grouped
(`nextbest.adapters.sqlite`).
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any, TypeVar

from nextbest.adapters.sqlite import PATIENCE_S, Reader, Schema, Writer
from nextbest.envelope import LANDED, NOT_ENVELOPES, UNREADABLE, Envelope, decode, encode, is_landed, unreadable
from nextbest.log import Appended, Arrived, LogUnavailableError

T = TypeVar("T")

_TABLES = """
CREATE TABLE records (
  position    INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id    TEXT NOT NULL UNIQUE,
  decision_id TEXT,
  contract    TEXT NOT NULL,
  day         TEXT NOT NULL,
  envelope    TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS filing (
  partition_key TEXT, position INTEGER,
  PRIMARY KEY (partition_key, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS emptied (
  contract TEXT, day TEXT, records INTEGER NOT NULL,
  PRIMARY KEY (contract, day)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (
  topic TEXT, partition INTEGER, next_offset INTEGER NOT NULL,
  PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
INSERT OR IGNORE INTO facts VALUES ('log_id', lower(hex(randomblob(8))));
INSERT INTO records SELECT position, event_id, decision_id,
  iif(event_id LIKE 'landing/%' AND json_extract(said, '$.contract') != '', 'landing/', '')
    || coalesce(json_extract(said, '$.contract'), ''),
  coalesce(substr(json_extract(said, '$.received_at'), 1, 10), '1970-01-01'), envelope
  FROM (SELECT *, iif(json_valid(envelope), envelope, '{}') AS said FROM records_before) ORDER BY position;
DROP TABLE records_before;
INSERT OR IGNORE INTO filing SELECT json_extract(envelope, '$.partition_key'), position FROM records
  WHERE json_valid(envelope);
CREATE INDEX records_by_decision ON records (decision_id) WHERE decision_id IS NOT NULL;
CREATE INDEX records_by_day ON records (contract, day)
"""
# A file of an earlier version keeps every record; a new one is made by way of an empty earlier one.
_UPGRADE = """
CREATE TABLE IF NOT EXISTS records (position INTEGER PRIMARY KEY, event_id TEXT, decision_id TEXT, envelope TEXT);
DROP INDEX IF EXISTS records_by_decision;
ALTER TABLE records RENAME TO records_before;
"""
_SCHEMA = Schema(4, _TABLES, _UPGRADE)
_HELD = "SELECT event_id, position FROM records WHERE event_id IN (SELECT value FROM json_each(?))"
"""Takes the ids as a list in JSON, in which SQLite cuts a text at NUL."""
_HELD_ONE = "SELECT event_id, position FROM records WHERE event_id = ?"
_NEWEST = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'records'), 0)"
_INSERT = "INSERT INTO records (position, event_id, decision_id, contract, day, envelope) VALUES (?, ?, ?, ?, ?, ?)"
_FILE = "INSERT OR IGNORE INTO filing (partition_key, position) VALUES (?, ?)"
# Records are read as bytes, since one of them may be no text; with what stands in for it then.
_FILED_UNDER = """
SELECT position, CAST(envelope AS BLOB), event_id, contract, day
FROM records WHERE position IN (SELECT position FROM filing WHERE partition_key = ?)
ORDER BY position
"""
_AT = "SELECT position, CAST(envelope AS BLOB), event_id, contract, day FROM records WHERE position = ?"
_UNFILE = "DELETE FROM filing WHERE partition_key = ? AND position = ?"
_UNFILE_UNREADABLE = "DELETE FROM filing WHERE position = ?"
"""Reads all of it: what cannot be read does not say where it is filed."""
_EMPTY = """
INSERT INTO emptied SELECT contract, day, 1 FROM records WHERE position = ? AND contract != ''
ON CONFLICT DO UPDATE SET records = records + 1
"""
_REPLACE = "UPDATE records SET decision_id = ?, contract = ?, day = ?, envelope = ? WHERE position = ?"
_READ = """
SELECT position, CAST(envelope AS BLOB), event_id, contract, day
FROM records WHERE position > ? ORDER BY position LIMIT ?
"""
LOG_ID = "SELECT value FROM facts WHERE name = 'log_id'"
_LAST = "SELECT coalesce(max(position), 0) FROM records"
_ABOUT_DECISION = """
SELECT position, CAST(envelope AS BLOB), event_id, contract, day
FROM records WHERE decision_id = ? ORDER BY position
"""
# From one day to the next by the index, and to each day's last record: neither reads the records between.
_ARRIVED = """
WITH RECURSIVE days(day) AS (
  SELECT min(day) FROM records WHERE contract = ?1
  UNION ALL
  SELECT (SELECT min(r.day) FROM records r WHERE r.contract = ?1 AND r.day > days.day) FROM days WHERE day IS NOT NULL
)
SELECT day, (SELECT coalesce(max(position), 0) FROM records r WHERE r.contract = ?1 AND r.day = each.day),
  coalesce((SELECT e.records FROM emptied e WHERE e.contract = ?1 AND e.day = each.day), 0)
FROM (SELECT day FROM days WHERE day IS NOT NULL UNION SELECT day FROM emptied WHERE contract = ?1) each ORDER BY day
"""
_OF_DAY = """
SELECT position, CAST(envelope AS BLOB), event_id, contract, day
FROM records WHERE contract = ? AND day = ? AND position > ? AND position <= ?
ORDER BY position LIMIT ?
"""
_REMOVE = "DELETE FROM records WHERE position = ?"
_IS_WHOLLY_GONE = """
DELETE FROM emptied WHERE contract = ?1 AND day = ?2
  AND NOT EXISTS (SELECT 1 FROM records WHERE contract = ?1 AND day = ?2)
"""

Row = tuple[str, str | None, str, str, str, str]
"""What `_INSERT` takes, and the partition key."""


class SqliteLog:
    """An `EventLog` in the file at `path`; the `_sync` methods are for callers without an event loop.

    Writes fail when another process holds the file for `patience_s` seconds.
    """

    def __init__(self, path: Path, patience_s: float = PATIENCE_S) -> None:
        self._writer = Writer(path, _SCHEMA, patience_s)
        self._reader = Reader(path, _SCHEMA)

    @property
    def is_definite(self) -> bool:
        return True

    async def append(self, records: Sequence[Envelope], *, together: bool = False, fresh: bool = False) -> Appended:  # noqa: ARG002  a look costs nothing here
        return await self._write(_insertion(records, together=together))

    def append_sync(self, records: Sequence[Envelope]) -> Appended:
        with _unavailable():
            return self._writer.submit(_insertion(records, together=False)).result()

    async def read(self, after: int, limit: int) -> list[tuple[int, Envelope]]:
        return self.read_sync(after, limit)

    def read_sync(self, after: int, limit: int) -> list[tuple[int, Envelope]]:
        return self._read(_READ, (after, limit))

    async def log_id(self) -> str:
        with _unavailable():
            return str(self._reader.rows(LOG_ID)[0][0])

    async def last_offset(self) -> int:
        with _unavailable():
            return int(self._reader.rows(_LAST)[0][0])

    async def about_decision(self, decision_id: str) -> list[tuple[int, Envelope]]:
        return self._read(_ABOUT_DECISION, (decision_id,))

    async def filed_under(self, keys: Sequence[str]) -> list[tuple[int, Envelope]]:
        found = [await asyncio.to_thread(self._read, _FILED_UNDER, (key,)) for key in dict.fromkeys(keys)]
        return sorted((row for rows in found for row in rows), key=lambda row: row[0])

    async def replace(self, records: Sequence[tuple[int, Envelope]]) -> None:
        await self._write(lambda connection: replace(connection, records))
        await self._empty_write_ahead_log()

    def arrived_sync(self, contract: str) -> list[Arrived]:
        with _unavailable():
            return [Arrived(contract, *row) for row in self._reader.rows(_ARRIVED, (contract,))]

    def of_day_sync(self, arrived: Arrived, after: int, limit: int) -> list[tuple[int, Envelope]]:
        return self._read(_OF_DAY, (arrived.contract, arrived.day, after, arrived.offset, limit))

    def remove_sync(self, arrived: Arrived, gone: Sequence[int], left: Sequence[tuple[int, Envelope]] = ()) -> None:
        with _unavailable():
            self._writer.submit(lambda connection: _remove(connection, arrived, gone, left)).result()

    def close(self) -> None:
        self._writer.close()
        self._reader.close()

    def _read(self, query: str, parameters: tuple[object, ...]) -> list[tuple[int, Envelope]]:
        return entries(self._rows(query, parameters))

    async def _write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        with _unavailable():
            return await self._writer.run(job)

    async def _empty_write_ahead_log(self) -> None:
        with _unavailable():
            await self._writer.empty_write_ahead_log()

    def _rows(self, query: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with _unavailable():
            return self._reader.rows(query, parameters)


def _insertion(records: Sequence[Envelope], *, together: bool) -> Callable[[sqlite3.Connection], Appended]:
    rows = [row_of(record) for record in records]
    return lambda connection: insert(connection, rows, together=together)


def row_of(record: Envelope) -> Row:
    """What the log's table takes of a record.

    Raises:
        OverflowError: it was received at no day of the calendar.

    """
    day = record.received_at.astimezone(UTC).date().isoformat()
    text = encode(record).decode()
    return record.event_id, record.decision_id, _arrived_under(record), day, text, record.partition_key


def _arrived_under(record: Envelope) -> str:
    """The contract under which a record lands; of what has come out of the landing, a name of its own."""
    return f"{LANDED}{record.contract}" if is_landed(record) and record.contract else record.contract


def insert(connection: sqlite3.Connection, rows: Sequence[Row], *, together: bool) -> Appended:
    """Insert what is not there yet, in the open transaction; `together` is that of `EventLog.append`."""
    held = positions(connection.execute, [row[0] for row in rows])
    if together and rows and (first := held.get(rows[0][0])):
        return Appended(offsets=(first,) * len(rows), duplicates=frozenset(row[0] for row in rows))
    duplicates = set(held)
    new: list[tuple[int, *Row]] = []
    position: int = connection.execute(_NEWEST).fetchone()[0]
    offsets = []
    for row in rows:
        offset = held.get(row[0])
        if offset is None:
            position += 1
            offset = held[row[0]] = position
            new.append((position, *row))
        else:
            duplicates.add(row[0])
        offsets.append(offset)
    connection.executemany(_INSERT, [row[:6] for row in new])
    connection.executemany(_FILE, [(row[6], row[0]) for row in new])
    return Appended(offsets=tuple(offsets), duplicates=frozenset(duplicates))


def positions(query: Callable[[str, tuple[str]], Iterable[Any]], event_ids: Sequence[str]) -> dict[str, int]:
    """The offset of each of these records that is there, by a function that runs a statement."""
    odd = [each for each in event_ids if "\0" in each]
    found: dict[str, int] = dict(query(_HELD, (json.dumps([each for each in event_ids if "\0" not in each]),)))
    for each in odd:
        found.update(query(_HELD_ONE, (each,)))
    return found


def replace(connection: sqlite3.Connection, records: Sequence[tuple[int, Envelope]]) -> None:
    """Put records in the place of those at their offsets, in the open transaction."""
    for position, record in records:
        _, decision_id, contract, day, text, partition_key = row_of(record)
        _unfile(connection, position)
        connection.execute(_EMPTY, (position,))
        connection.execute(_REPLACE, (decision_id, contract, day, text, position))
        connection.execute(_FILE, (partition_key, position))


def entries(rows: Iterable[tuple[int, bytes, str, str, str]]) -> list[tuple[int, Envelope]]:
    """The records of such rows, each with its offset; one that cannot be decoded holds up none after it.

    Args:
        rows: offset, envelope, event id, contract and day.

    """
    found = []
    for position, text, *known in rows:
        try:
            record = decode(text)
        except NOT_ENVELOPES:
            record = unreadable(*known)
        found.append((position, record))
    return found


def filed(connection: sqlite3.Connection, key: str) -> list[tuple[int, Envelope]]:
    """The records with a partition key, in order, as the open transaction has them."""
    return entries(connection.execute(_FILED_UNDER, (key,)))


def _unfile(connection: sqlite3.Connection, position: int) -> None:
    for _, record in entries(connection.execute(_AT, (position,))):
        if record.type == UNREADABLE:
            connection.execute(_UNFILE_UNREADABLE, (position,))
        else:
            connection.execute(_UNFILE, (record.partition_key, position))


def _remove(
    connection: sqlite3.Connection, arrived: Arrived, gone: Sequence[int], left: Sequence[tuple[int, Envelope]]
) -> None:
    replace(connection, left)
    for position in gone:
        _unfile(connection, position)
        connection.execute(_REMOVE, (position,))
    connection.execute(_IS_WHOLLY_GONE, (arrived.contract, arrived.day))


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # what is to be written is at fault, and will be the next time
    except sqlite3.Error as error:
        raise LogUnavailableError(f"the event log cannot be used: {error}") from error
