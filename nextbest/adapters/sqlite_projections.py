"""Projections on SQLite: their values and offsets, in the file of State.

Belongs here: reading and writing them, and forgetting one without holding up whoever else writes. Does not belong here:
what is kept under a customer's name (`nextbest.adapters.sqlite_state`), or what is folded (`nextbest.following`).
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from nextbest.projection import Projected, Values

_AT_ONCE: Final = 500
"""Most values that are forgotten in one transaction."""
_PROJECTED = """
SELECT NULL, at FROM projections WHERE name = :name AND log_id = :log_id
UNION ALL SELECT p.key, p.value FROM projected AS p JOIN projections USING (name)
  WHERE p.name = :name AND log_id = :log_id AND p.key IN (SELECT value FROM json_each(:keys))
"""
_PROJECTION = "SELECT log_id, at FROM projections WHERE name = ?"
_OFFSETS = "SELECT name, iif(log_id = ?, at, 0) FROM projections"
_DISCARD = "DELETE FROM projections WHERE name = :name AND log_id <> :unless"
_FORGET = "DELETE FROM projected WHERE name = ?"
_FORGET_SOME = """
DELETE FROM projected WHERE name = :name AND NOT EXISTS (SELECT 1 FROM projections WHERE name = :name)
  AND key IN (SELECT key FROM projected WHERE name = :name LIMIT :most)
"""
_PROJECT_TO = "INSERT OR REPLACE INTO projections (name, log_id, at) VALUES (?, ?, ?)"
_PROJECT = "INSERT OR REPLACE INTO projected (name, key, value) VALUES (?, ?, ?)"
_UNPROJECT = "DELETE FROM projected WHERE name = ? AND key = ?"

Rows = Callable[[str, Any], Iterable[tuple[Any, ...]]]
"""Runs a query."""


def projected(rows: Rows, name: str, log_id: str, keys: Sequence[str]) -> Projected:
    """What is kept under keys, and up to which offset."""
    asked = {"name": name, "log_id": log_id, "keys": msgspec.json.encode(keys).decode()}
    found = list(rows(_PROJECTED, asked))
    return Projected(
        offset=next((int(value) for key, value in found if key is None), 0),
        values={key: value for key, value in found if key is not None},
    )


def offsets(rows: Rows, log_id: str) -> dict[str, int]:
    """By name how far each projection is; 0 of one of another log."""
    return {name: int(at) for name, at in rows(_OFFSETS, (log_id,))}


def project(connection: sqlite3.Connection, name: str, log_id: str, values: Values, *, after: int, offset: int) -> bool:
    """Write values and offset where the offset is still `after`; else nothing, and false."""
    kept = connection.execute(_PROJECTION, (name,)).fetchone()
    is_of_this = kept is not None and kept[0] == log_id
    if after != (kept[1] if is_of_this else 0):
        return False
    if not is_of_this:
        connection.execute(_FORGET, (name,))  # of one that was not forgotten whole
    connection.execute(_PROJECT_TO, (name, log_id, offset))
    connection.executemany(_PROJECT, [(name, key, value) for key, value in values.items() if value is not None])
    connection.executemany(_UNPROJECT, [(name, key) for key, value in values.items() if value is None])
    return True


def discard(connection: sqlite3.Connection, name: str, unless: str) -> None:
    """A projection is none any more, but that of the log `unless`; its values are left to be forgotten."""
    connection.execute(_DISCARD, {"name": name, "unless": unless})


def forget_some(connection: sqlite3.Connection, name: str) -> int:
    """Forget some values of a projection that is none any more, unless somebody has begun it again; how many."""
    return connection.execute(_FORGET_SOME, {"name": name, "most": _AT_ONCE}).rowcount
