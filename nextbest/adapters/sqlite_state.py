"""State on SQLite: one file that decision replicas, the event processor and the follower share.

Belongs here: what each call asks and changes, in one transaction. Times are microseconds since 1970 UTC. Does not
belong here: the tables and the texts of statements (`nextbest.adapters.sqlite_state_sql`), projections
(`nextbest.adapters.sqlite_projections`), who is one (`nextbest.adapters.sqlite_identity`), counting under caps
(`nextbest.reservations`), what becomes of a contact (`nextbest.ledger`), what a record means (`nextbest.state`), or how
commits are grouped (`nextbest.adapters.sqlite`).
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from nextbest import identity, ledger
from nextbest.adapters import sqlite_identity, sqlite_projections
from nextbest.adapters import sqlite_state_sql as sql
from nextbest.adapters.sqlite import PATIENCE_S, Parameters, Reader, Writer
from nextbest.adapters.state_effects import Others, Part, Ties, signal_name, steps, well_formed
from nextbest.envelope import Envelope, Identifier
from nextbest.identity import USUAL_LIMITS, Limits
from nextbest.ledger import Change, Entries, Entry
from nextbest.messages import Grant, Proposal
from nextbest.moments import from_microseconds, to_microseconds
from nextbest.projection import Projected, Values
from nextbest.records import Arm, Contact, Interaction, Signal, Snapshot, Usage
from nextbest.reservations import counters, reserve
from nextbest.signals import rank
from nextbest.state import (
    ActionSeen,
    ActionSwitched,
    ConsentChanged,
    CustomerErased,
    CustomerInteracted,
    DecisionMade,
    Effect,
    SignalSaid,
    SnapshotScope,
    StateBehindError,
    StateUnavailableError,
    horizon,
)
from nextbest.unions import earliest, in_order, names_in_order, strictest

T = TypeVar("T")
_Found = defaultdict[str, list[tuple[Any, ...]]]
"""Rows by what they are, without it."""
_Rows = Callable[[str, Mapping[str, object]], Iterable[tuple[Any, ...]]]
"""Runs a query."""

_OFFSET, _CAUGHT_UP = "log_offset", "caught_up"
"""Facts by log: each is named with its id."""
_MODEL_SET = "model_set_id"
_POLICY = "policy_hash"
_OVERRUNS = "overruns"
_FORGOTTEN = "contacts_forgotten"
"""Up to when contacts have been forgotten."""
_AT_ONCE = 500
"""Most decisions, or interactions, that are forgotten in one transaction."""

_of_signal = attrgetter("signal", "key")
_signal_of = msgspec.json.Decoder(Signal).decode
_takes_of = msgspec.json.Decoder(dict[str, int]).decode


class SqliteState:
    """A `State` in the file at `path`; writes fail when another process holds the file for `patience_s` seconds."""

    def __init__(self, path: Path, patience_s: float = PATIENCE_S, limits: Limits = USUAL_LIMITS) -> None:
        self._limits = limits
        self._writer = Writer(path, sql.SCHEMA, patience_s)
        self._reader = Reader(path, sql.SCHEMA)

    async def customer_of(self, identifiers: Sequence[Identifier]) -> str | None:
        names = [identity.name_of(each) for each in identifiers]
        found = (rows[0][0] for name in names if (rows := self._rows(sql.CUSTOMER, (name,))))
        return next(found, names[0] if names else None)

    async def members(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        return {name: names_in_order([each for (each,) in self._rows(sql.GROUP, (name,))]) or (name,) for name in names}

    async def neighbours(self, names: Sequence[str]) -> set[str]:
        return {end for name in names for (end,) in self._rows(sql.NEIGHBOURS, (name,))}

    async def snapshot(self, customer_id: str | None, scope: SnapshotScope, log_id: str = "") -> Snapshot:
        asked = {
            "mark": f"{_CAUGHT_UP}:{log_id}",
            "name": customer_id,
            "contacts_since": to_microseconds(scope.contacts_since),
            "interactions_since": to_microseconds(scope.interactions_since),
            "signals": msgspec.json.encode([*map(signal_name, scope.signals)]).decode(),
        }
        query = sql.SNAPSHOT + sql.SIGNALLED if scope.signals else sql.SNAPSHOT
        found = _found(self._rows, query, sql.SNAPSHOT_OF_NAME, asked, scope.counters)
        if log_id and not found["mark"]:
            raise StateBehindError
        return _snapshot(found, scope.contacts_since)

    async def reserve(self, proposal: Proposal, now: datetime, log_id: str = "") -> Grant:
        return await self._write(lambda connection: _reserve(connection, proposal, now, log_id))

    async def commit(self, decision_id: str, slot: int, event_id: str, impressed_at: datetime) -> None:
        seen = ActionSeen(decision_id=decision_id, event_id=event_id, slot=slot, action=None, at=impressed_at)
        await self._write(lambda connection: _take_effect(connection, seen))

    async def release(self, decision_id: str, slot: int) -> None:
        await self._write(
            lambda connection: _step(connection, decision_id, lambda entries: ledger.released(entries, slot))
        )

    async def apply(
        self,
        records: Sequence[Envelope],
        offset: int | None,
        log_id: str = "",
        *,
        after: int | None = None,
        is_end: bool = False,
    ) -> None:
        changes = well_formed(records)
        if offset is not None:
            part = Part(log_id, offset, after=after, is_end=is_end)
            await self._write(lambda connection: _apply(connection, changes, part, self._limits))
        elif changes:
            await self._write(lambda connection: _take_effects(connection, changes, self._limits))

    async def overruns(self) -> int:
        return int(self._fact(_OVERRUNS) or 0)

    async def forget_before(self, contacts: datetime, interactions: datetime) -> None:
        await self._write(lambda connection: _note_forgotten(connection, contacts))
        for decisions in self._old(sql.LAPSED, contacts):
            await self._write(partial(_forget_lapsed, decisions=decisions, until=contacts))
        for events in self._old(sql.OLD_INTERACTIONS, interactions):
            await self._write(partial(_forget_interactions, events=events))

    def _old(self, query: str, until: datetime) -> Iterator[list[str]]:
        """The ids that a query finds, some at a time; finding them holds up no writer."""
        last = ""
        while found := [str(row[0]) for row in self._rows(query, (last, to_microseconds(until), _AT_ONCE))]:
            last = found[-1]
            yield found

    async def rewind(self, log_id: str = "") -> None:
        await self._write(lambda connection: connection.execute(sql.SET_FACT, (f"{_OFFSET}:{log_id}", "0")))

    async def applied_offset(self, log_id: str = "") -> int:
        return int(self._fact(f"{_OFFSET}:{log_id}") or 0)

    async def is_caught_up(self, log_id: str = "") -> bool:
        return self._fact(f"{_CAUGHT_UP}:{log_id}") is not None

    async def clear(self) -> None:
        await self._write(_clear)

    async def projected(self, name: str, log_id: str, keys: Sequence[str]) -> Projected:
        return sqlite_projections.projected(self._rows, name, log_id, keys)

    async def project(self, name: str, log_id: str, values: Values, *, after: int, offset: int) -> bool:
        if after == 0:
            await self._discard(name, unless=log_id)
        write = partial(sqlite_projections.project, name=name, log_id=log_id, values=values, after=after, offset=offset)
        return await self._write(write)

    async def projections(self, log_id: str) -> dict[str, int]:
        return sqlite_projections.offsets(self._rows, log_id)

    async def discard(self, name: str) -> None:
        await self._discard(name)

    async def _discard(self, name: str, unless: str = "") -> None:
        """At once what tells of it goes, then the rest piece by piece, while others write."""
        await self._write(partial(sqlite_projections.discard, name=name, unless=unless))
        while await self._write(partial(sqlite_projections.forget_some, name=name)):
            pass

    async def publish_policy(self, policy_hash: str) -> None:
        await self._write(lambda connection: connection.execute(sql.SET_FACT, (_POLICY, policy_hash)))

    async def current_policy(self) -> str | None:
        return self._fact(_POLICY)

    async def publish_model_set(self, model_set_id: str) -> None:
        await self._write(lambda connection: connection.execute(sql.SET_FACT, (_MODEL_SET, model_set_id)))

    async def current_model_set(self) -> str | None:
        return self._fact(_MODEL_SET)

    def close(self) -> None:
        self._writer.close()
        self._reader.close()

    def _fact(self, name: str) -> str | None:
        rows = self._rows("SELECT value FROM facts WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def _rows(self, query: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        with _unavailable():
            try:
                return self._writer.rows(query, parameters)
            except sqlite3.Error:  # somebody opens or closes the file: there is a moment to wait
                return self._reader.rows(query, parameters)

    async def _write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        with _unavailable():
            return await self._writer.run(job)


def _about(query: str, asked: Mapping[str, object], counters: Sequence[str]) -> tuple[str, dict[str, object]]:
    """A query with a place for each counter, and what goes into all of its places."""
    places = {f"c{number}": counter for number, counter in enumerate(counters)}
    return query.format(", ".join(f":{place}" for place in places)), {**asked, **places}


def _found(rows: _Rows, query: str, of_name: str, asked: Mapping[str, object], counters: Sequence[str]) -> _Found:
    """What a query finds, and of each other name of the customer what is found of it."""
    found: _Found = defaultdict(list)
    _add(found, rows(*_about(query, asked, counters)))
    for name, *_ in found["member"]:
        if name != asked["name"]:
            _add(found, rows(of_name, {**asked, "name": name}))
    return found


def _add(found: _Found, rows: Iterable[tuple[Any, ...]]) -> None:
    for row in rows:
        found[row[0]].append(row[1:])


def _snapshot(found: _Found, contacts_since: datetime) -> Snapshot:
    interactions = [
        Interaction(kind=kind, at=from_microseconds(at), action=action, channel=channel)
        for at, kind, action, channel, *_ in found["interaction"]
    ]
    return Snapshot(
        members=names_in_order([name for name, *_ in found["member"]]),
        consents=strictest((purpose, status) for purpose, status, *_ in found["consent"]),
        contacts=ledger.counting(map(_entry, found["contact"]), contacts_since),
        interactions=in_order(interactions),
        arms=earliest((at, Arm(experiment, *arm[:2])) for experiment, at, *arm in found["arm"]),
        pauses=tuple(sorted(action for action, *_ in found["pause"])),
        usage=_usage(found["usage"]),
        signals=tuple(sorted((_signal_of(said) for said, *_ in found["signal"]), key=_of_signal)),
    )


def _usage(rows: Iterable[tuple[Any, ...]]) -> dict[str, Usage]:
    return {counter: Usage(seen, held) for counter, seen, held, *_ in rows}


def _reserve(connection: sqlite3.Connection, proposal: Proposal, now: datetime, log_id: str) -> Grant:
    record, counted, since = proposal.record, counters(proposal, now), horizon(proposal, now)
    asked = {
        "name": record.customer_id,
        "decision_id": record.decision_id,
        "contacts_since": to_microseconds(since),
        "now": to_microseconds(now),
        "mark": f"{_CAUGHT_UP}:{log_id}",
    }
    found = _read(connection, asked, counted)
    if log_id and not found["mark"]:
        raise StateBehindError
    if overdue := {entry.key: entry for entry in map(_entry, found["overdue"])}:
        _write_change(connection, overdue, {key: ledger.given_back(entry) for key, entry in overdue.items()})
        found = _read(connection, asked, counted)
    earlier = {entry.key: entry for entry in map(_entry, found["entry"])}
    usage = ledger.without(_usage(found["usage"]), ledger.holds(earlier))
    known = ledger.counting(map(_entry, found["contact"]), since)
    grant, contacts = reserve(proposal, known, now, usage)
    _write_change(connection, earlier, ledger.reserved(earlier, contacts, record.customer_id))
    if proposal.reserves and record.mode == "live":
        known_arms = {arm.experiment for arm in record.snapshot.arms}
        new = [arm for arm in record.arms if arm.experiment not in known_arms]
        _keep_arms(connection, sql.FIRST_ARM, record.customer_id, new, record.occurred_at)
    return grant


def _read(connection: sqlite3.Connection, asked: Mapping[str, object], counted: Sequence[str]) -> _Found:
    """All that a reservation rests on.

    With what is overdue: all of the customer's, which caps are about to count, and some of everybody's.
    """
    return _found(connection.execute, sql.BEFORE_RESERVING, sql.RESERVING_OF_NAME, asked, counted)


def _step(connection: sqlite3.Connection, decision_id: str, step: Callable[[Entries], Entries]) -> None:
    before = _entries(connection, decision_id)
    _write_change(connection, before, step(before))


def _entries(connection: sqlite3.Connection, decision_id: str) -> Entries:
    return {entry.key: entry for entry in map(_entry, connection.execute(sql.OF_DECISION, (decision_id,)))}


def _note_forgotten(connection: sqlite3.Connection, until: datetime) -> None:
    latest = max(until, _forgotten(connection))
    connection.execute(sql.SET_FACT, (_FORGOTTEN, str(to_microseconds(latest))))


def _forgotten(connection: sqlite3.Connection) -> datetime:
    return from_microseconds(int(_fact(connection, _FORGOTTEN) or 0))


def _forget_lapsed(connection: sqlite3.Connection, decisions: Sequence[str], until: datetime) -> None:
    for decision_id in decisions:
        _write_down(connection, ledger.lapsed(_entries(connection, decision_id), until))


def _forget_interactions(connection: sqlite3.Connection, events: Sequence[str]) -> None:
    connection.executemany("DELETE FROM interactions WHERE event_id = ?", ((each,) for each in events))


def _write_down(connection: sqlite3.Connection, change: Change) -> None:
    connection.executemany(sql.WRITE, map(_row, change.written.values()))
    connection.executemany(sql.DROP, change.dropped)
    connection.executemany(sql.USE, ((name, use.seen, use.held) for name, use in change.usage.items()))


def _write_change(connection: sqlite3.Connection, before: Entries, after: Entries) -> None:
    _write_down(connection, ledger.change(before, after))
    if late := ledger.overruns(before, after):
        connection.execute(sql.COUNT, (_OVERRUNS, late))


def _entry(row: tuple[Any, ...]) -> Entry:
    decision_id, slot, action, group, channel, customer_id, decided, expires, impressed, takes, seen_by, released = row
    contact = Contact(
        decision_id=decision_id,
        slot=slot,
        action=action,
        group=group,
        channel=channel,
        decided_at=from_microseconds(decided),
        expires_at=from_microseconds(expires),
        impressed_at=None if impressed is None else from_microseconds(impressed),
        takes=_takes_of(takes),
    )
    return Entry(contact=contact, customer_id=customer_id, impression_id=seen_by, is_released=bool(released))


def _row(entry: Entry) -> tuple[Any, ...]:
    contact = entry.contact
    return (
        *entry.key,
        to_microseconds(contact.decided_at),
        to_microseconds(contact.expires_at),
        None if contact.impressed_at is None else to_microseconds(contact.impressed_at),
        msgspec.json.encode(contact.takes).decode(),
        entry.impression_id,
        entry.is_released,
    )


def _keep_arms(
    connection: sqlite3.Connection, statement: str, customer_id: str | None, arms: Iterable[Arm], at: datetime
) -> None:
    if customer_id is not None:
        rows = ((customer_id, each.experiment, each.arm, each.probability, to_microseconds(at)) for each in arms)
        connection.executemany(statement, rows)


def _apply(connection: sqlite3.Connection, changes: Sequence[Effect], part: Part, limits: Limits) -> None:
    name = f"{_OFFSET}:{part.log_id}"
    applied = int(_fact(connection, name) or 0)
    if part.after is not None and part.after > applied:
        return
    if part.offset > applied:
        connection.execute(sql.SET_FACT, (name, str(part.offset)))
        _take_effects(connection, changes, limits)
    if part.is_end:
        connection.execute(sql.SET_FACT, (f"{_CAUGHT_UP}:{part.log_id}", "1"))


def _clear(connection: sqlite3.Connection) -> None:
    for table in sql.OF_THE_LOG:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608  our own names
    connection.execute(sql.FORGET_LOGS)


def _take_effects(connection: sqlite3.Connection, changes: Sequence[Effect], limits: Limits) -> None:
    for step in steps(changes):
        match step:
            case Ties(said):
                sqlite_identity.tie(connection, said, limits)
            case CustomerErased(names=names):
                _forget(connection, names)
                sqlite_identity.forget(connection, names, limits)
            case Others(effects):
                for effect in effects:
                    _take_effect(connection, effect)


def _take_effect(connection: sqlite3.Connection, effect: Effect) -> None:
    match effect:
        case DecisionMade():
            forgotten = _forgotten(connection)
            _step(connection, effect.decision_id, lambda entries: ledger.made(entries, effect, forgotten))
            _keep_arms(connection, sql.ARM, effect.customer_id, effect.arms, effect.at)
        case ActionSeen():
            _step(connection, effect.decision_id, lambda entries: ledger.seen(entries, effect))
        case CustomerInteracted(interaction=done):
            row = {"event_id": effect.event_id, "customer_id": effect.customer_id, **msgspec.structs.asdict(done)}
            connection.execute(sql.INTERACTION, {**row, "at": to_microseconds(done.at)})
        case SignalSaid(signal=said, occurred_at=occurred_at):
            name, text = signal_name((said.signal, said.key)), msgspec.json.encode(said).decode()
            row = {"name": name, "said": text, "at": to_microseconds(said.at), "rank": rank(said, occurred_at)}
            connection.execute(sql.SIGNAL, row)
        case ConsentChanged() | ActionSwitched():
            statement = sql.CONSENT if isinstance(effect, ConsentChanged) else sql.PAUSE
            connection.execute(statement, {**msgspec.structs.asdict(effect), "at": to_microseconds(effect.at)})


def _forget(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    for name in names:
        entries = {entry.key: entry for entry in map(_entry, connection.execute(sql.ALL_OF_CUSTOMER, (name,)))}
        _write_change(connection, entries, ledger.forgotten(entries))
        for table in sql.BY_CUSTOMER:
            connection.execute(f"DELETE FROM {table} WHERE customer_id = ?", (name,))  # noqa: S608  our own names


def _fact(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return row and str(row[0])


@contextmanager
def _unavailable() -> Iterator[None]:
    """What SQLite refuses because of a value is no fault of the file's, and goes further as it is."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.DataError):
        raise
    except sqlite3.Error as error:
        raise StateUnavailableError(f"State cannot be used: {error}") from error
