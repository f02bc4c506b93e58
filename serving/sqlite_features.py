"""Online features in a file of SQLite, as Feast lays them out: one query per customer.

Belongs here: the query, and what can happen to the file meanwhile. Does not belong here: its layout
(`serving.feature_layout`), or what becomes of a decision without features (`serving.online_features`).
"""

import asyncio
import os
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nextbest.records import Attribute
from serving.feature_layout import Layout, StoredView
from serving.feature_values import DECODERS

_PAUSE_S = 0.001


class SqliteFeatures:
    """Reads inside the event loop: 60 features take 60 µs there, and 170 µs when a thread is asked for them.

    While somebody commits, SQLite lets nobody read: the reader then tries again, and the loop goes on. Only one that
    may write can put right what a killed writer left half done, so the connection may, and is told not to.
    """

    def __init__(self, path: Path, layout: Layout, patience_s: float) -> None:
        self._path = path
        self._patience_s = patience_s
        self._layout = layout
        self._query = " UNION ALL ".join(_select(n, view.table, view.ttl_s) for n, view in enumerate(layout.views))
        self._nothing: dict[str, Attribute | None] = {**layout.nothing}
        self._wanted = [set(view.fields) for view in layout.views]
        self._ttls = [view.ttl_s for view in layout.views if view.ttl_s]
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)

    async def read(self, customer_id: str, now: float) -> dict[str, Attribute | None]:
        """The customer's features: all None of an unknown one.

        Raises:
            OSError: there is no file.
            sqlite3.Error: it cannot be read, or not so.
            TimeoutError: others have been writing for as long as patience lasts.
            UnknownFormatError: a stored value is of an unknown type.

        """
        key = self._layout.key(customer_id)
        oldest = [_stored_moment(now - ttl) for ttl in self._ttls]
        rows = await self._rows(self._query, (key, *oldest))
        features = self._nothing.copy()
        for view, name, value in rows:
            if value and name in self._wanted[view]:
                features[name] = DECODERS[value[0]](value)
        return features

    async def some_customers(self, most: int) -> list[str]:
        """Some of those stored, of every view."""
        return await self._some_of(self._layout.views, most)

    async def is_empty(self) -> bool:
        """Whether nobody was copied into it."""
        return not await self._some_of(self._layout.copied, 1)

    async def _some_of(self, views: Iterable[StoredView], most: int) -> list[str]:
        customers: set[str] = set()
        for view in views:
            query = f"SELECT DISTINCT entity_key FROM {_quoted(view.table)} LIMIT ?"  # noqa: S608  Feast's own name
            customers |= {self._layout.customer_of(key) for (key,) in await self._rows(query, (most,))}
        return sorted(customers)

    async def close(self) -> None:
        self._close()

    async def _rows(self, query: str, values: tuple[bytes | int, ...]) -> list[Any]:
        rows = self._unless_busy(query, values)
        if rows is None:
            async with asyncio.timeout(self._patience_s):
                while rows is None:
                    await asyncio.sleep(_PAUSE_S)
                    rows = self._unless_busy(query, values)
        return rows

    def _unless_busy(self, query: str, values: tuple[bytes | int, ...]) -> list[Any] | None:
        try:
            return self._open().execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return None

    def _open(self) -> sqlite3.Connection:
        """The connection to the file that is there now; 1 µs when it is the same one."""
        found = os.stat(self._path)  # noqa: PTH116  a third of what a `Path` takes
        file = (found.st_dev, found.st_ino)
        if self._connection is None or file != self._file:
            self._close()
            uri = f"{self._path.absolute().as_uri()}?mode=rw"
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0)
            self._connection.execute("PRAGMA query_only = 1")
            self._file = file
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _select(number: int, table: str, ttl_s: float) -> str:
    fresh = " AND event_ts >= ?" if ttl_s else ""
    return f"SELECT {number}, feature_name, value FROM {_quoted(table)} WHERE entity_key = ?1{fresh}"  # noqa: S608  a name that Feast made


def _quoted(table: str) -> str:
    return '"' + table.replace('"', '""') + '"'


def _stored_moment(moment: float) -> int:
    """As Feast writes it: seconds since the epoch, as if what UTC's clock shows were the time of this machine."""
    return int(datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).timestamp())
