"""The quarantine of the API: every row that it rejected, with the reason, until somebody mends it or it is too old.

Belongs here: the file, and what bounds it: a client that sends garbage must not fill the disk. Rejected rows may hold
anything, also what belongs nowhere, so the file is its owner's alone. Does not belong here: rejecting
(`nextbest.row_check`), mending (serving), or the rejected rows of files (`nextbest.adapters.landing`).
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from nextbest.adapters.files import FOR_OWNER
from nextbest.adapters.sqlite import PATIENCE_S, Reader, Schema, Writer
from nextbest.contracts import Contract
from nextbest.errors import NextbestError
from nextbest.rejects import Kept, Reject, id_of

T = TypeVar("T")

MOST_ROWS: Final = 100_000
MOST_BYTES: Final = 200_000_000
"""Of rows, as JSON: fewer than the most there may be, when they are large."""
_DAYS, _MINUTES_DAYS = 90, 7
"""How long a row stays, where its contract does not say less, and how long the counts by the minute do."""
_LOOK_ROWS, _LOOK_BYTES, _LOOK_EVERY = 1_000, 10_000_000, timedelta(hours=1)
"""After so much that was written, or so long, what is too much or too old is looked for."""
_MINUTE: Final = "%Y-%m-%dT%H:%M"
_TABLES = """
CREATE TABLE rejects (
  id          TEXT PRIMARY KEY,
  first_at    TEXT NOT NULL,
  last_at     TEXT NOT NULL,
  times       INTEGER NOT NULL,
  sender      TEXT NOT NULL,
  contract    TEXT NOT NULL,
  rule        TEXT NOT NULL,
  in_column   TEXT NOT NULL,
  reason      TEXT NOT NULL,
  customer_id TEXT,
  row         TEXT NOT NULL,
  bytes       INTEGER NOT NULL,
  sent_at     TEXT
);
CREATE INDEX rejects_by_age ON rejects (last_at, id, bytes, contract);
CREATE INDEX rejects_by_customer ON rejects (customer_id) WHERE customer_id IS NOT NULL;
CREATE TABLE minutes (
  minute TEXT, sender TEXT, contract TEXT, rejected INTEGER NOT NULL,
  PRIMARY KEY (minute, sender, contract)
) WITHOUT ROWID
"""
_SCHEMA = Schema(1, _TABLES, mode=FOR_OWNER)
_KEEP = """
INSERT INTO rejects VALUES (:id, :at, :at, :times, :sender, :contract, :rule, :in_column, :reason, :customer_id, :row,
  :bytes, :sent_at)
ON CONFLICT (id) DO UPDATE SET last_at = max(last_at, :at), times = times + :times, sender = :sender, reason = :reason,
  in_column = :in_column, sent_at = :sent_at
"""
_COUNT = """
INSERT INTO minutes VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET rejected = rejected + excluded.rejected
"""
_TOO_MUCH = """
DELETE FROM rejects WHERE id IN (
  SELECT id FROM (
    SELECT id, row_number() OVER newest AS place, sum(bytes) OVER newest AS so_far FROM rejects
    WINDOW newest AS (ORDER BY last_at DESC, id DESC)
  ) WHERE place > ? OR so_far > ?
)
"""
_ROWS = """
SELECT id, first_at, last_at, times, sender, contract, rule, in_column, reason, row, sent_at FROM rejects
WHERE (?1 = '' OR contract = ?1) AND (?2 = '' OR rule = ?2) ORDER BY last_at DESC, id DESC
"""
_COUNTS = "SELECT minute, sender, contract, rejected FROM minutes WHERE minute >= ? ORDER BY minute, sender, contract"


class QuarantineUnavailableError(NextbestError):
    """The quarantine cannot be used; nothing of the call was kept or removed."""


class Quarantine:
    """The file at `path`, made when the first row is rejected. Any number of processes may use it."""

    def __init__(
        self,
        path: Path,
        contracts: Mapping[str, Contract],
        patience_s: float = PATIENCE_S,
        *,
        most_rows: int = MOST_ROWS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._path, self._patience_s = path, patience_s
        self._days = {name: min(each.retention_days or _DAYS, _DAYS) for name, each in contracts.items()}
        self._most_rows, self._most_bytes = most_rows, most_bytes
        self._reader = Reader(path, _SCHEMA)
        self._is_written = False
        self._looked_at: datetime | None = None
        self._rows_since = self._bytes_since = 0

    async def keep(self, rejects: Sequence[Reject], at: datetime) -> None:
        """Return once they survive the death of any process.

        Raises:
            QuarantineUnavailableError: they may not.

        """
        rows = [_columns(each, at) for each in rejects]
        minutes = Counter((_minute(at), each.sender, each.contract) for each in rejects)
        self._rows_since += len(rows)
        self._bytes_since += sum(row["bytes"] for row in rows)
        is_due = self._is_due(at)

        def run(connection: sqlite3.Connection) -> None:
            connection.executemany(_KEEP, rows)
            connection.executemany(_COUNT, [(*key, count) for key, count in minutes.items()])
            if is_due:
                self._remove_old(connection, at)

        await self._write(run)

    def rows(self, *, contract: str = "", rule: str = "") -> list[Kept]:
        """Those of a contract or under a rule, or all; the newest first.

        Raises:
            QuarantineUnavailableError: they cannot be read.

        """
        if not self._path.exists():
            return []
        with self._unavailable():
            return [_kept(row) for row in self._reader.rows(_ROWS, (contract, rule))]

    def counts(self, since: datetime) -> list[tuple[datetime, str, str, int]]:
        """How many rows were rejected in each minute from `since` on, by sender and contract; of a week at most.

        Raises:
            QuarantineUnavailableError: they cannot be read.

        """
        if not self._path.exists():
            return []
        with self._unavailable():
            found = self._reader.rows(_COUNTS, (_minute(since),))
        return [(datetime.strptime(each, _MINUTE).replace(tzinfo=UTC), *rest) for each, *rest in found]

    async def drop(self, ids: Sequence[str]) -> int:
        """Remove rows; returns how many there were.

        Raises:
            QuarantineUnavailableError: none was removed.

        """
        return await self._remove("DELETE FROM rejects WHERE id = ?", ids)

    async def forget(self, customer_id: str) -> int:
        """Remove what is about a customer, so that it cannot be read from the file any more; returns how many rows.

        Raises:
            QuarantineUnavailableError: it may still be there.

        """
        if not self._path.exists():
            return 0
        removed = await self._remove("DELETE FROM rejects WHERE customer_id = ?", [customer_id])
        with self._unavailable():
            await self._writer.empty_write_ahead_log()
        return removed

    def close(self) -> None:
        """Let go of threads and files."""
        if self._is_written:
            self._writer.close()
        self._reader.close()

    @cached_property
    def _writer(self) -> Writer:
        self._is_written = True
        return Writer(self._path, _SCHEMA, self._patience_s)

    async def _remove(self, statement: str, keys: Sequence[str]) -> int:
        def run(connection: sqlite3.Connection) -> int:
            return sum(connection.execute(statement, (key,)).rowcount for key in keys)

        return await self._write(run)

    async def _write(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job in the writer's thread: no decision is to wait for what somebody sent wrong."""
        with self._unavailable():
            return await asyncio.wrap_future(self._writer.submit(run))

    def _is_due(self, at: datetime) -> bool:
        if (
            self._looked_at is None
            or at - self._looked_at > _LOOK_EVERY
            or self._rows_since > min(_LOOK_ROWS, self._most_rows)
            or self._bytes_since > min(_LOOK_BYTES, self._most_bytes)
        ):
            self._looked_at, self._rows_since, self._bytes_since = at, 0, 0
            return True
        return False

    def _remove_old(self, connection: sqlite3.Connection, at: datetime) -> None:
        for contract, days in self._days.items():
            before = _text(at - timedelta(days=days))
            connection.execute("DELETE FROM rejects WHERE contract = ? AND last_at < ?", (contract, before))
        connection.execute("DELETE FROM rejects WHERE last_at < ?", (_text(at - timedelta(days=_DAYS)),))
        connection.execute("DELETE FROM minutes WHERE minute < ?", (_minute(at - timedelta(days=_MINUTES_DAYS)),))
        connection.execute(_TOO_MUCH, (self._most_rows, self._most_bytes))

    @contextmanager
    def _unavailable(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise QuarantineUnavailableError(f"the quarantine of rejected events cannot be used: {error}") from error


def _columns(reject: Reject, at: datetime) -> dict[str, Any]:
    row = msgspec.json.encode(reject.row)
    customer_id = reject.row.get("customer_id")
    return {
        "id": id_of(reject),
        "at": _text(at),
        "times": 1,
        "sender": reject.sender,
        "contract": reject.contract,
        "rule": reject.rule,
        "in_column": reject.column,
        "reason": reject.reason,
        "customer_id": str(customer_id) if isinstance(customer_id, str | int) else None,
        "row": row.decode(),
        "bytes": len(row),
        # As it was said: at the ends of the calendar there is no such moment in UTC.
        "sent_at": reject.sent_at.isoformat() if reject.sent_at else None,
    }


def _kept(row: tuple[Any, ...]) -> Kept:
    id_, first_at, last_at, times, sender, contract, rule, column, reason, sent, sent_at = row
    return Kept(
        id=id_,
        first_at=datetime.fromisoformat(first_at),
        last_at=datetime.fromisoformat(last_at),
        times=times,
        sender=sender,
        contract=contract,
        rule=rule,
        column=column,
        reason=reason,
        row=msgspec.json.decode(sent),
        sent_at=datetime.fromisoformat(sent_at) if sent_at else None,
    )


def _text(moment: datetime) -> str:
    """The order of these texts is that of the moments."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_MINUTE)
