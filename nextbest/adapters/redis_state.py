"""State on Redis: one server that the decision replicas of many machines share.

Belongs here: what is read, what Python makes of it, and what is written if nothing it rests on has changed meanwhile;
otherwise all of it is done again. Does not belong here: the steps on the server (`nextbest.adapters.redis_scripts`),
counting under caps (`nextbest.reservations`), what becomes of a contact (`nextbest.ledger`), or what a record means
(`nextbest.state`).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import hiredis
import msgspec

from nextbest import ledger
from nextbest.adapters.moments import to_microseconds
from nextbest.adapters.redis_line import LineError, Lines, Word, packed, run_script
from nextbest.adapters.redis_scripts import (
    PREFIX,
    READ,
    READ_DIGEST,
    WRITE,
    WRITE_DIGEST,
    Ask,
    Known,
    Latest,
    Reply,
    Writes,
)
from nextbest.adapters.state_effects import well_formed
from nextbest.envelope import Envelope, Identifier
from nextbest.ledger import Entries, Entry
from nextbest.messages import Grant, Proposal
from nextbest.records import Arm, Interaction, Snapshot, Usage
from nextbest.reservations import counters, reserve
from nextbest.state import (
    ActionSeen,
    ActionSwitched,
    ConsentChanged,
    CustomerErased,
    CustomerInteracted,
    DecisionMade,
    Effect,
    IdentifierLinked,
    SnapshotScope,
    StateUnavailableError,
    horizon,
)

T = TypeVar("T")

_KEPT = 1_000
_SCANNED = 1_000
_OVERDUE_ROWS = 1_000
"""Most contacts of all customers that one reservation gives back: it must not wait for a long standstill's."""
_EFFECTS_AT_ONCE = 250  # the server does nothing else meanwhile
_FACTS = f"{PREFIX}facts"
_OFFSET = "log_offset"
_MODEL_SET = "model_set_id"
_POLICY = "policy_hash"
_OVERRUNS = "overruns"
_encode = msgspec.json.encode
_entry_of = msgspec.json.Decoder(Entry)
_interaction_of = msgspec.json.Decoder(Interaction)
_arm_of = msgspec.json.Decoder(Arm)


class RedisState:
    """A `State` on the server at `url`; a command that has no answer after `patience_s` seconds fails."""

    def __init__(self, url: str, patience_s: float) -> None:
        self._lines = Lines(url, patience_s)
        self._lately: OrderedDict[str, _Seen] = OrderedDict()

    async def customer_of(self, identifiers: Sequence[Identifier]) -> str | None:
        if not identifiers:
            return None
        names = [_name(each) for each in identifiers]
        found: list[str | None] = await self._ask("HMGET", f"{PREFIX}identifiers", *names)
        return next((_value(text) for text in found if text), None)

    async def identifiers_of(self, customer_id: str) -> tuple[Identifier, ...]:
        with _unavailable():
            return tuple(sorted(map(_identifier, await self._names_of(customer_id))))

    async def snapshot(self, customer_id: str | None, scope: SnapshotScope) -> Snapshot:
        ask = Ask(
            customer_id=customer_id,
            now=None if scope.now is None else str(to_microseconds(scope.now)),
            overdue_rows=_OVERDUE_ROWS,
            contacts_since=_after(scope.contacts_since),
            interactions_since=_after(scope.interactions_since),
            counters=scope.counters,
        )
        with _unavailable():
            found = await self._read(ask)
        self._keep(ask, scope, found)
        return Snapshot(
            consents=dict(msgspec.convert(_values(found.consents), dict[str, Any])),
            contacts=ledger.counting(_entries(found.contacts).values(), scope.contacts_since),
            interactions=tuple(map(_interaction_of.decode, found.interactions)),
            arms=_arms(found),
            pauses=tuple(sorted(action for action, paused in _values(found.pauses).items() if paused == "1")),
            usage=_usage(found, scope.counters),
        )

    async def reserve(self, proposal: Proposal, now: datetime) -> Grant:
        record = proposal.record
        ask = Ask(
            customer_id=record.customer_id,
            now=str(to_microseconds(now)),
            overdue_rows=_OVERDUE_ROWS,
            contacts_since=_after(horizon(proposal, now)),
            decisions=(record.decision_id,),
            counters=tuple(counters(proposal, now)),
        )
        with _unavailable():
            grant = await self._reserve_as_seen(proposal, now, ask)
            if grant is None:
                grant = await self._until_unchanged(ask, lambda found: _reserve(proposal, now, ask, found))
            return grant

    async def commit(self, decision_id: str, slot: int, event_id: str, impressed_at: datetime) -> None:
        seen = ActionSeen(decision_id=decision_id, event_id=event_id, slot=slot, action=None, at=impressed_at)
        with _unavailable():
            await self._take_effect([seen], Writes())

    async def release(self, decision_id: str, slot: int) -> None:
        def plan(found: Reply) -> tuple[None, Writes]:
            (known,) = found.decisions
            writes = Writes(decisions={decision_id: known})
            before = _entries(known)
            _write_change(writes, before, ledger.released(before, slot))
            return None, writes

        with _unavailable():
            await self._until_unchanged(Ask(decisions=(decision_id,)), plan)

    async def apply(self, records: Sequence[Envelope], offset: int | None) -> None:
        """As the protocol says; a long batch is cut, and only its last part moves the offset."""
        changes = well_formed(records)
        if not changes and offset is None:
            return
        parts = list(_parts(changes)) or [[]]
        for number, part in enumerate(parts, start=1):
            writes = Writes(above=offset, offset=offset if number == len(parts) else None)
            with _unavailable():
                match part:
                    case [CustomerErased(customer_id=customer_id)]:
                        await self._forget(customer_id, writes)
                    case _:
                        await self._take_effect(part, writes)

    async def overruns(self) -> int:
        return int(await self._fact(_OVERRUNS) or 0)

    async def rewind(self) -> None:
        await self._ask("HSET", _FACTS, _OFFSET, 0)

    async def applied_offset(self) -> int:
        return int(await self._fact(_OFFSET) or 0)

    async def publish_policy(self, policy_hash: str) -> None:
        await self._ask("HSET", _FACTS, _POLICY, policy_hash)

    async def current_policy(self) -> str | None:
        return await self._fact(_POLICY)

    async def publish_model_set(self, model_set_id: str) -> None:
        await self._ask("HSET", _FACTS, _MODEL_SET, model_set_id)

    async def current_model_set(self) -> str | None:
        return await self._fact(_MODEL_SET)

    def close(self) -> None:
        self._lines.close()

    async def _fact(self, name: str) -> str | None:
        value: str | None = await self._ask("HGET", _FACTS, name)
        return value

    async def _ask(self, *words: Word) -> Any:
        with _unavailable():
            return await self._lines.here().ask(packed(*words))

    def _keep(self, ask: Ask, scope: SnapshotScope, found: Reply) -> None:
        """Keep what was read for the reservation that follows it, as a rule."""
        if ask.customer_id is not None and ask.now is not None:
            self._lately[ask.customer_id] = _Seen(scope, found)
            while len(self._lately) > _KEPT:
                self._lately.popitem(last=False)

    async def _reserve_as_seen(self, proposal: Proposal, now: datetime, ask: Ask) -> Grant | None:
        """Reserve by what the snapshot read, without reading again: none where anything has changed since.

        What is written tests all that the grant rests on, as after a reading of its own. Only what has expired in
        between would not be given back first: so nothing is granted this way when a limit has no room.
        """
        seen = self._lately.pop(ask.customer_id or "", None)
        if seen is None:
            return None
        found = _as_read(seen, ask)
        if found is None or _is_short(proposal, now, ask, found):
            return None
        grant, writes = _reserve(proposal, now, ask, found)
        return grant if writes is None or await self._write(writes) else None

    async def _take_effect(self, changes: Sequence[Effect], writes: Writes) -> None:
        about = (each.decision_id for each in changes if isinstance(each, DecisionMade | ActionSeen))
        ask = Ask(decisions=tuple(dict.fromkeys(about)))
        await self._until_unchanged(ask, lambda found: (None, _applied(changes, writes, ask, found)))

    async def _forget(self, customer_id: str, base: Writes) -> None:
        names = await self._names_of(customer_id)
        ask = Ask(customer_id=customer_id, contacts_since="-inf")

        def plan(found: Reply) -> tuple[None, Writes]:
            writes = Writes(above=base.above, offset=base.offset, forget=(customer_id, names))
            writes.version = (customer_id, found.version or "0")
            entries = _entries(found.contacts)
            _write_change(writes, entries, ledger.forgotten(entries))
            return None, writes

        await self._until_unchanged(ask, plan)

    async def _names_of(self, customer_id: str) -> list[str]:
        """The names of the customer's identifiers: all are looked through, some at a time."""
        line, cursor, names = self._lines.here(), "0", list[str]()
        while True:
            cursor, flat = await line.ask(packed("HSCAN", f"{PREFIX}identifiers", cursor, "COUNT", _SCANNED))
            names += [name for name, whose in _values(flat).items() if whose == customer_id]
            if cursor == "0":
                return names

    async def _until_unchanged(self, ask: Ask, plan: Callable[[Reply], tuple[T, Writes | None]]) -> T:
        """Read, plan and write, until nothing that the plan rests on has changed between reading and writing.

        It fails only because another call succeeded, and what is written twice, for want of an answer, changes nothing.
        """
        while True:
            result, writes = plan(await self._read(ask))
            if writes is None or await self._write(writes):
                return result

    async def _read(self, ask: Ask) -> Reply:
        words = (1, PREFIX, _encode(ask))
        return msgspec.convert(await run_script(self._lines.here(), READ_DIGEST, READ, words), Reply)

    async def _write(self, writes: Writes) -> bool:
        words = (1, PREFIX, _encode(writes))
        return bool(await run_script(self._lines.here(), WRITE_DIGEST, WRITE, words))


class _Seen(NamedTuple):
    """What a snapshot asked for, and what was read."""

    scope: SnapshotScope
    found: Reply


def _as_read(seen: _Seen, ask: Ask) -> Reply | None:
    """What a reservation would have read at the moment of the snapshot; none where that did not ask for all of it."""
    scope, found = seen
    places = {counter: place for place, counter in enumerate(scope.counters)}
    if _number(ask.contacts_since) < _number(_after(scope.contacts_since)) or not places.keys() >= {*ask.counters}:
        return None
    named = [places[counter] for counter in ask.counters]
    return Reply(
        consents=found.consents,
        pauses=found.pauses,
        arms=found.arms,
        contacts=found.contacts,
        interactions=[],
        decisions=[[known for known in found.contacts if _decision_of(known) in ask.decisions]],
        seen=[found.seen[place] for place in named],
        held=[found.held[place] for place in named],
        version=found.version,
    )


def _decision_of(known: Known) -> str:
    return str(msgspec.json.decode(known[0], type=list[Any])[0])


def _number(after: str) -> int:
    return int(after.removeprefix("("))


def _is_short(proposal: Proposal, now: datetime, ask: Ask, found: Reply) -> bool:
    """Whether some limit, or something that is held still, has run out by `now`."""
    usage, at = _usage(found, ask.counters), now
    options = (option for placement in proposal.placements for option in placement.order)
    for limit in {limit for option in options for limit in option.limits}:
        used = usage.get(limit.counter(now), Usage())
        if limit.most is not None and used.seen + used.held + limit.amount > limit.most:
            return True
    return any(entry.is_held and entry.contact.expires_at <= at for entry in _entries(found.contacts).values())


def _parts(changes: Sequence[Effect]) -> Iterator[list[Effect]]:
    """Changes that can be written in one step: not too many, and an erasure by itself."""
    part: list[Effect] = []
    for change in changes:
        is_alone = isinstance(change, CustomerErased)
        if part and (is_alone or len(part) == _EFFECTS_AT_ONCE):
            yield part
            part = []
        part.append(change)
        if is_alone:
            yield part
            part = []
    if part:
        yield part


def _reserve(proposal: Proposal, now: datetime, ask: Ask, found: Reply) -> tuple[Grant, Writes | None]:
    record = proposal.record
    (known,) = found.decisions
    earlier = _entries(known)
    held = ledger.holds(earlier)
    usage = ledger.without(_usage(found, ask.counters), held)
    contacts = ledger.counting(_entries(found.contacts).values(), horizon(proposal, now))
    grant, new = reserve(proposal, contacts, now, usage)
    arms = _new_arms(proposal, found)
    if not new and not arms:
        return grant, None  # all of it was read in one step
    writes = Writes(
        version=None if record.customer_id is None else (record.customer_id, found.version or "0"),
        decisions={record.decision_id: known},
        room=[
            (counter, held.get(counter, 0), least, most)
            for counter, (least, most) in ledger.room(proposal, new, usage, now).items()
        ],
        first=[(each.key, each.name, each.text) for each in arms],
    )
    _write_change(writes, earlier, ledger.reserved(earlier, new, record.customer_id))
    return grant, writes


def _new_arms(proposal: Proposal, found: Reply) -> list[Latest]:
    record = proposal.record
    if record.customer_id is None or not proposal.reserves or record.mode != "live":
        return []
    known = {each.experiment for each in _arms(found)}
    return _said_arms(
        record.customer_id, [arm for arm in record.arms if arm.experiment not in known], record.occurred_at
    )


def _applied(changes: Sequence[Effect], base: Writes, ask: Ask, found: Reply) -> Writes:
    known = dict(zip(ask.decisions, found.decisions, strict=True))
    writes = Writes(above=base.above, offset=base.offset, decisions=known)
    before: dict[str, Entries] = {decision_id: _entries(each) for decision_id, each in known.items()}
    after = dict(before)
    for effect in changes:
        match effect:
            case DecisionMade():
                after[effect.decision_id] = ledger.made(after[effect.decision_id], effect)
                if effect.customer_id is not None:
                    writes.latest.extend(_said_arms(effect.customer_id, effect.arms, effect.at))
            case ActionSeen():
                seen = ledger.seen(after[effect.decision_id], effect)
                writes.overruns += ledger.overruns(after[effect.decision_id], seen)
                after[effect.decision_id] = seen
            case CustomerInteracted(interaction=done):
                at = to_microseconds(done.at)
                writes.interactions.append((effect.event_id, effect.customer_id, at, _encode(done).decode()))
            case ConsentChanged() | IdentifierLinked() | ActionSwitched():
                writes.latest.append(_said(effect))
            case CustomerErased():
                raise AssertionError("an erasure is a step by itself")
    for decision_id, entries in after.items():
        _write_change(writes, before[decision_id], entries)
    return writes


def _said(effect: ConsentChanged | IdentifierLinked | ActionSwitched) -> Latest:
    match effect:
        case ConsentChanged(customer_id=customer_id, purpose=purpose, status=status):
            return _latest(f"consents:{customer_id}", purpose, effect.at, status, rank=status == "withdrawn")
        case ActionSwitched(action=action, is_paused=is_paused):
            return _latest("pauses", action, effect.at, str(int(is_paused)), rank=is_paused)
        case IdentifierLinked(identifier=identifier, customer_id=customer_id):
            latest = _latest("identifiers", _name(identifier), effect.at, customer_id, rank=False)
            return msgspec.structs.replace(latest, is_last_word=True)


def _latest(key: str, name: str, at: datetime, value: str, *, rank: bool) -> Latest:
    moment = to_microseconds(at)
    return Latest(key, name, moment, int(rank), f"{moment} {int(rank)} {value}")


def _said_arms(customer_id: str, arms: Iterable[Arm], at: datetime) -> list[Latest]:
    """The earliest holds: moments count down."""
    moment = -to_microseconds(at)
    return [
        Latest(f"arms:{customer_id}", arm.experiment, moment, 0, f"{moment} 0 {_encode(arm).decode()}") for arm in arms
    ]


def _write_change(writes: Writes, before: Entries, after: Entries) -> None:
    change = ledger.change(before, after)
    for key, entry in change.written.items():
        expiry = to_microseconds(entry.contact.expires_at) if entry.is_held else 0
        latest = to_microseconds(entry.latest)
        text = _encode(entry).decode()
        writes.put.append((_id(key), text, entry.contact.decision_id, entry.customer_id, latest, expiry))
    for key, entry in change.dropped.items():
        writes.drop.append((_id(key), entry.contact.decision_id, entry.customer_id))
    writes.usage.extend((counter, use.seen, use.held) for counter, use in change.usage.items())


def _entries(known: Iterable[Known]) -> dict[ledger.Key, Entry]:
    """Entries as they are now: one that is held no more has expired, whatever its text says."""
    decoded = ((_entry_of.decode(text), is_held) for _, text, is_held in known)
    entries = (entry if is_held or entry.is_seen else ledger.given_back(entry) for entry, is_held in decoded)
    return {entry.key: entry for entry in entries}


def _usage(found: Reply, names: Iterable[str]) -> dict[str, Usage]:
    rows = zip(names, found.seen, found.held, strict=True)
    usage = {name: Usage(int(seen or 0), int(held or 0)) for name, seen, held in rows}
    return {name: each for name, each in usage.items() if each != Usage()}


def _arms(found: Reply) -> tuple[Arm, ...]:
    return tuple(_arm_of.decode(text) for _, text in sorted(_values(found.arms).items()))


def _values(flat: Sequence[str]) -> dict[str, str]:
    return {name: _value(text) for name, text in zip(flat[::2], flat[1::2], strict=True)}


def _value(text: str) -> str:
    """What was said, without moment and rank."""
    return text.split(" ", 2)[2]


def _id(key: ledger.Key) -> str:
    return _encode(key).decode()


def _identifier(name: str) -> Identifier:
    return Identifier(*msgspec.json.decode(name, type=tuple[str, str]))


def _name(identifier: Identifier) -> str:
    return _encode((identifier.kind, identifier.hmac)).decode()


def _after(moment: datetime) -> str:
    return f"({to_microseconds(moment)}"


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except (LineError, hiredis.HiredisError) as error:
        raise StateUnavailableError(f"State cannot be used: {error}") from error
