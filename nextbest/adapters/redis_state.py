"""State on Redis: one server that the decision replicas of many machines share.

Belongs here: what is read, what Python makes of it, and what is written if nothing it rests on has changed meanwhile;
otherwise all of it is done again. Does not belong here: the steps on the server (`nextbest.adapters.redis_scripts`),
counting under caps (`nextbest.reservations`), what becomes of a contact (`nextbest.ledger`), or what a record means
(`nextbest.state`).
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from nextbest import ledger
from nextbest.adapters.moments import to_microseconds
from nextbest.adapters.redis_scripts import PREFIX, READ, WRITE, Ask, Known, Latest, Reply, Writes
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

_CONNECTIONS = 32
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
    """A `State` on the server at `url`; a call that has not succeeded after `patience_s` seconds fails.

    Connections live on a thread with an event loop of its own, so that calls may come from any loop.
    """

    def __init__(self, url: str, patience_s: float) -> None:
        self._patience_s = patience_s
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=patience_s,
            socket_timeout=patience_s,
            socket_connect_timeout=patience_s,
            retry=Retry(NoBackoff(), 1),  # once: a connection kept from before the server was restarted
            decode_responses=True,
        )
        self._redis = Redis.from_pool(pool)
        self._reading = self._redis.register_script(READ)
        self._writing = self._redis.register_script(WRITE)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="State on Redis", daemon=True)
        self._thread.start()

    async def customer_of(self, identifiers: Sequence[Identifier]) -> str | None:
        if not identifiers:
            return None
        names = [_name(each) for each in identifiers]
        found: list[Any] = await self._run(self._redis.hmget(f"{PREFIX}identifiers", names))
        return next((_value(text) for text in found if text), None)

    async def identifiers_of(self, customer_id: str) -> tuple[Identifier, ...]:
        return tuple(sorted(map(_identifier, await self._run(self._names_of(customer_id)))))

    async def snapshot(self, customer_id: str | None, scope: SnapshotScope) -> Snapshot:
        ask = Ask(
            customer_id=customer_id,
            contacts_since=_after(scope.contacts_since),
            interactions_since=_after(scope.interactions_since),
            counters=scope.counters,
        )
        found = await self._run(self._read(ask))
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
        return await self._run(self._until_unchanged(ask, lambda found: _reserve(proposal, now, ask, found)))

    async def commit(self, decision_id: str, slot: int, event_id: str, impressed_at: datetime) -> None:
        seen = ActionSeen(decision_id=decision_id, event_id=event_id, slot=slot, action=None, at=impressed_at)
        await self._run(self._take_effect([seen], Writes()))

    async def release(self, decision_id: str, slot: int) -> None:
        def plan(found: Reply) -> tuple[None, Writes]:
            (known,) = found.decisions
            writes = Writes(decisions={decision_id: known})
            before = _entries(known)
            _write_change(writes, before, ledger.released(before, slot))
            return None, writes

        await self._run(self._until_unchanged(Ask(decisions=(decision_id,)), plan))

    async def apply(self, records: Sequence[Envelope], offset: int | None) -> None:
        """As the protocol says; a long batch is cut, and only its last part moves the offset."""
        changes = well_formed(records)
        if not changes and offset is None:
            return
        parts = list(_parts(changes)) or [[]]
        for number, part in enumerate(parts, start=1):
            writes = Writes(above=offset, offset=offset if number == len(parts) else None)
            match part:
                case [CustomerErased(customer_id=customer_id)]:
                    await self._run(self._forget(customer_id, writes))
                case _:
                    await self._run(self._take_effect(part, writes))

    async def overruns(self) -> int:
        return int(await self._fact(_OVERRUNS) or 0)

    async def rewind(self) -> None:
        await self._run(self._redis.hset(_FACTS, _OFFSET, 0))

    async def applied_offset(self) -> int:
        return int(await self._fact(_OFFSET) or 0)

    async def publish_policy(self, policy_hash: str) -> None:
        await self._run(self._redis.hset(_FACTS, _POLICY, policy_hash))

    async def current_policy(self) -> str | None:
        return await self._fact(_POLICY)

    async def publish_model_set(self, model_set_id: str) -> None:
        await self._run(self._redis.hset(_FACTS, _MODEL_SET, model_set_id))

    async def current_model_set(self) -> str | None:
        return await self._fact(_MODEL_SET)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._redis.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _fact(self, name: str) -> str | None:
        value: Any = await self._run(self._redis.hget(_FACTS, name))
        return None if value is None else str(value)

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
        found = self._redis.hscan_iter(f"{PREFIX}identifiers", count=1_000)
        return [name async for name, text in found if _value(text) == customer_id]

    async def _until_unchanged(self, ask: Ask, plan: Callable[[Reply], tuple[T, Writes | None]]) -> T:
        """Read, plan and write, until nothing that the plan rests on has changed between reading and writing.

        It fails only because another call succeeded, and what is written twice, for want of an answer, changes nothing.
        """
        while True:
            result, writes = plan(await self._read(ask))
            if writes is None or await self._writing(keys=[PREFIX], args=[_encode(writes)]):
                return result

    async def _read(self, ask: Ask) -> Reply:
        return msgspec.convert(await self._reading(keys=[PREFIX], args=[_encode(ask)]), Reply)

    async def _run(self, job: Awaitable[T]) -> T:
        with _unavailable():
            patient = asyncio.wait_for(job, self._patience_s)
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(patient, self._loop))


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
    except (RedisError, OSError) as error:  # a timeout is an OSError too
        reason = str(error) or "it did not answer in time"
        raise StateUnavailableError(f"State cannot be used: {reason}") from error
