"""State on SQLite: one file that decision replicas, the event processor and the follower share.

Belongs here: the file's tables and the statements that change them, each call one transaction. Times are microseconds
since 1970 UTC. Does not belong here: counting under caps (`nextbest.reservations`), what a record means
(`nextbest.state`), or how commits are grouped (`nextbest.adapters.sqlite`).
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from nextbest.adapters.sqlite import PATIENCE_S, Reader, Writer, from_microseconds, to_microseconds
from nextbest.envelope import Envelope, Identifier
from nextbest.messages import Grant, Proposal
from nextbest.records import Contact, Snapshot
from nextbest.reservations import reserve
from nextbest.state import (
    ActionSeen,
    ActionSwitched,
    ConsentChanged,
    DecisionMade,
    Effect,
    IdentifierLinked,
    StateUnavailableError,
    effects,
    horizon,
)

T = TypeVar("T")
_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS consents (
  customer_id TEXT, purpose TEXT, status TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (customer_id, purpose)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identifiers (
  kind TEXT, hmac TEXT, customer_id TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (kind, hmac)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pauses (
  action TEXT PRIMARY KEY, is_paused INTEGER NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contacts (
  decision_id TEXT, slot INTEGER, customer_id TEXT NOT NULL,
  action TEXT NOT NULL, action_group TEXT NOT NULL, channel TEXT NOT NULL,
  decided_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, impressed_at INTEGER, impression_id TEXT,
  is_released INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (decision_id, slot, action, customer_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS contacts_by_customer ON contacts (customer_id);
CREATE TABLE IF NOT EXISTS facts (
  name TEXT PRIMARY KEY, value TEXT NOT NULL
) WITHOUT ROWID;
"""
_CONTACTS = """
SELECT decision_id, slot, action, action_group, channel, decided_at, expires_at, impressed_at FROM contacts
WHERE customer_id = ? AND max(expires_at, decided_at, coalesce(impressed_at, 0)) > ?
  AND (NOT is_released OR impressed_at IS NOT NULL)
ORDER BY decided_at, decision_id, slot
"""
_HOLD = """
INSERT INTO contacts (decision_id, slot, customer_id, action, action_group, channel, decided_at, expires_at)
VALUES (:decision_id, :slot, :customer_id, :action, :group, :channel, :decided_at, :expires_at)
ON CONFLICT DO UPDATE SET action_group = excluded.action_group, channel = excluded.channel,
  decided_at = excluded.decided_at, expires_at = excluded.expires_at, is_released = 0
"""
_DROP_UNSEEN = "DELETE FROM contacts WHERE decision_id = ? AND impressed_at IS NULL"
# Nothing is seen before it was decided: a channel's clock that is behind must not take a contact out of its window.
_SEEN = """
UPDATE contacts SET impressed_at = max(:at, decided_at), impression_id = :event_id
WHERE decision_id = :decision_id AND slot = (
  SELECT min(slot) FROM contacts
  WHERE decision_id = :decision_id AND impressed_at IS NULL
    AND CASE WHEN :slot IS NULL THEN action = :action ELSE slot = :slot END
) AND NOT EXISTS (SELECT 1 FROM contacts WHERE decision_id = :decision_id AND impression_id = :event_id)
"""
_CONSENT = """
INSERT INTO consents (customer_id, purpose, status, at) VALUES (:customer_id, :purpose, :status, :at)
ON CONFLICT DO UPDATE SET status = excluded.status, at = excluded.at
WHERE excluded.at > at OR (excluded.at = at AND excluded.status = 'withdrawn')
"""
_IDENTIFIER = """
INSERT INTO identifiers (kind, hmac, customer_id, at) VALUES (:kind, :hmac, :customer_id, :at)
ON CONFLICT DO UPDATE SET customer_id = excluded.customer_id, at = excluded.at WHERE excluded.at >= at
"""
_PAUSE = """
INSERT INTO pauses (action, is_paused, at) VALUES (:action, :is_paused, :at)
ON CONFLICT DO UPDATE SET is_paused = excluded.is_paused, at = excluded.at
WHERE excluded.at > at OR (excluded.at = at AND excluded.is_paused)
"""
_SET_FACT = "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_OFFSET = "log_offset"
_MODEL_SET = "model_set_id"


class SqliteState:
    """A `State` in the file at `path`; writes fail when another process holds the file for `patience_s` seconds."""

    def __init__(self, path: Path, patience_s: float = PATIENCE_S) -> None:
        self._writer = Writer(path, _SCHEMA, patience_s)
        self._reader = Reader(path, _SCHEMA)

    async def customer_of(self, identifiers: Sequence[Identifier]) -> str | None:
        return self._read(lambda connection: _customer_of(connection, identifiers))

    async def snapshot(self, customer_id: str | None, since: datetime) -> Snapshot:
        return self._read(lambda connection: _snapshot(connection, customer_id, since))

    async def reserve(self, proposal: Proposal, now: datetime) -> Grant:
        return await self._write(lambda connection: _reserve(connection, proposal, now))

    async def commit(self, decision_id: str, slot: int, event_id: str, impressed_at: datetime) -> None:
        seen = ActionSeen(decision_id=decision_id, event_id=event_id, slot=slot, action=None, at=impressed_at)
        await self._write(lambda connection: _take_effect(connection, seen))

    async def release(self, decision_id: str, slot: int) -> None:
        query = "UPDATE contacts SET is_released = 1 WHERE decision_id = ? AND slot = ?"
        await self._write(lambda connection: connection.execute(query, (decision_id, slot)))

    async def apply(self, records: Sequence[Envelope], offset: int | None) -> None:
        changes = [effect for record in records for effect in _effects_of(record)]
        if changes or offset is not None:
            await self._write(lambda connection: _apply(connection, changes, offset))

    async def rewind(self) -> None:
        await self._write(lambda connection: connection.execute(_SET_FACT, (_OFFSET, "0")))

    async def applied_offset(self) -> int:
        return int(self._read(lambda connection: _fact(connection, _OFFSET)) or 0)

    async def publish_model_set(self, model_set_id: str) -> None:
        await self._write(lambda connection: connection.execute(_SET_FACT, (_MODEL_SET, model_set_id)))

    async def current_model_set(self) -> str | None:
        return self._read(lambda connection: _fact(connection, _MODEL_SET))

    def close(self) -> None:
        self._writer.close()
        self._reader.close()

    def _read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        with _unavailable():
            return self._reader.run(job)

    async def _write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        with _unavailable():
            return await asyncio.wrap_future(self._writer.submit(job))


def _customer_of(connection: sqlite3.Connection, identifiers: Sequence[Identifier]) -> str | None:
    query = "SELECT customer_id FROM identifiers WHERE kind = ? AND hmac = ?"
    rows = (connection.execute(query, (each.kind, each.hmac)).fetchone() for each in identifiers)
    return next((row[0] for row in rows if row), None)


def _snapshot(connection: sqlite3.Connection, customer_id: str | None, since: datetime) -> Snapshot:
    consents = connection.execute("SELECT purpose, status FROM consents WHERE customer_id = ?", (customer_id,))
    pauses = connection.execute("SELECT action FROM pauses WHERE is_paused ORDER BY action")
    return Snapshot(
        consents=dict(consents.fetchall()),
        contacts=_contacts(connection, customer_id, since),
        pauses=tuple(action for (action,) in pauses),
    )


def _contacts(connection: sqlite3.Connection, customer_id: str | None, since: datetime) -> tuple[Contact, ...]:
    return tuple(
        Contact(
            decision_id=decision_id,
            slot=slot,
            action=action,
            group=group,
            channel=channel,
            decided_at=from_microseconds(decided_at),
            expires_at=from_microseconds(expires_at),
            impressed_at=None if impressed_at is None else from_microseconds(impressed_at),
        )
        for decision_id, slot, action, group, channel, decided_at, expires_at, impressed_at in connection.execute(
            _CONTACTS, (customer_id, to_microseconds(since))
        )
    )


def _reserve(connection: sqlite3.Connection, proposal: Proposal, now: datetime) -> Grant:
    customer_id = proposal.record.customer_id
    grant, contacts = reserve(proposal, _contacts(connection, customer_id, horizon(proposal, now)), now)
    _hold(connection, customer_id, contacts)
    return grant


def _hold(connection: sqlite3.Connection, customer_id: str | None, contacts: Sequence[Contact]) -> None:
    if customer_id is None:
        return  # nobody's contacts count under nobody's caps
    for contact in contacts:
        times = {
            "decided_at": to_microseconds(contact.decided_at),
            "expires_at": to_microseconds(contact.expires_at),
        }
        connection.execute(_HOLD, {**msgspec.structs.asdict(contact), **times, "customer_id": customer_id})


def _apply(connection: sqlite3.Connection, changes: Sequence[Effect], offset: int | None) -> None:
    if offset is not None:
        if offset <= int(_fact(connection, _OFFSET) or 0):
            return
        connection.execute(_SET_FACT, (_OFFSET, str(offset)))
    for change in changes:
        _take_effect(connection, change)


def _take_effect(connection: sqlite3.Connection, effect: Effect) -> None:
    if isinstance(effect, DecisionMade):
        connection.execute(_DROP_UNSEEN, (effect.decision_id,))
        _hold(connection, effect.customer_id, effect.contacts)
        return
    row = {**msgspec.structs.asdict(effect), "at": to_microseconds(effect.at)}
    match effect:
        case ConsentChanged():
            connection.execute(_CONSENT, row)
        case IdentifierLinked(identifier=identifier):
            connection.execute(
                _IDENTIFIER, {**row, "identifier": None, "kind": identifier.kind, "hmac": identifier.hmac}
            )
        case ActionSeen():
            connection.execute(_SEEN, row)
        case ActionSwitched():
            connection.execute(_PAUSE, row)


def _effects_of(record: Envelope) -> tuple[Effect, ...]:
    """The effects of `record`; one that is not well formed has none, so that it cannot hold up what comes after it."""
    try:
        return effects(record)
    except msgspec.DecodeError as error:
        _log.warning("record %s has no effect: %s", record.event_id, error)
        return ()


def _fact(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return row and str(row[0])


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StateUnavailableError(f"State cannot be used: {error}") from error
