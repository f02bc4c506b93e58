"""State on Redis: one server that all processes of a home share.

Belongs here: what is asked, and that a plan is written only if nothing it rests on has changed meanwhile; otherwise all
of it is done again. Does not belong here: the plans (`nextbest.adapters.redis_plans`), the steps on the server
(`nextbest.adapters.redis_scripts`), or what a record means (`nextbest.state`).
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

import msgspec

from nextbest import identity, ledger
from nextbest.adapters import redis_projections
from nextbest.adapters.redis_identity import Graph
from nextbest.adapters.redis_messages import Ask, Reply, Writes
from nextbest.adapters.redis_plans import (
    Found,
    Seen,
    applied,
    consents_of,
    decision_of,
    entries_of,
    found_of,
    is_enough,
    is_lapsed,
    is_short,
    kept,
    lapsed,
    later_than,
    parts_of,
    reservation,
    signals_of,
    values_of,
    versions_of,
    write_change,
)
from nextbest.adapters.redis_scripts import CLEAR, FORGET, READ, WRITE
from nextbest.adapters.redis_server import PREFIX, Server
from nextbest.adapters.state_effects import Others, Part, Ties, signal_name, well_formed
from nextbest.envelope import Envelope, Identifier
from nextbest.identity import USUAL_LIMITS, Limits
from nextbest.messages import Grant, Proposal
from nextbest.moments import to_microseconds
from nextbest.projection import Projected, Values
from nextbest.records import Interaction, Snapshot
from nextbest.reservations import counters
from nextbest.state import (
    ActionSeen,
    CustomerErased,
    DecisionMade,
    Effect,
    SnapshotScope,
    StateBehindError,
    horizon,
)
from nextbest.unions import in_order, names_in_order

T = TypeVar("T")

_KEPT = 1_000
_OVERDUE_ROWS = 1_000
"""Most contacts of all customers that one reservation gives back: it must not wait for a long standstill's."""
_FACTS = f"{PREFIX}facts"
_OFFSET, _CAUGHT_UP = "log_offset/2", "caught_up/2"
"""Facts by log: each is named with its id."""
_MODEL_SET = "model_set_id"
_POLICY = "policy_hash"
_OVERRUNS = "overruns"
_FORGOTTEN = "contacts_forgotten"
_FORGOTTEN_AT_ONCE = 250  # the server does nothing else meanwhile
_encode = msgspec.json.encode
_interaction_of = msgspec.json.Decoder(Interaction).decode


class RedisState:
    """A `State` on the server at `url`; a command that has no answer after `patience_s` seconds fails."""

    def __init__(self, url: str, patience_s: float, limits: Limits = USUAL_LIMITS) -> None:
        self._server = Server(url, patience_s)
        self._graph = Graph(self._server, self._write, limits)
        self._lately: OrderedDict[str, Seen] = OrderedDict()

    async def customer_of(self, identifiers: Sequence[Identifier]) -> str | None:
        if not identifiers:
            return None
        names = [identity.name_of(each) for each in identifiers]
        found: list[str | None] = await self._server.ask("HMGET", f"{PREFIX}members", *names)
        return next(filter(None, found), names[0])

    async def members(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        return await self._graph.members(names)

    async def neighbours(self, names: Sequence[str]) -> set[str]:
        return await self._graph.neighbours(names)

    async def snapshot(self, customer_id: str | None, scope: SnapshotScope, log_id: str = "") -> Snapshot:
        ask = Ask(
            log_id=log_id,
            customer_id=customer_id,
            now=None if scope.now is None else str(to_microseconds(scope.now)),
            overdue_rows=_OVERDUE_ROWS,
            contacts_since=later_than(scope.contacts_since),
            interactions_since=later_than(scope.interactions_since),
            counters=scope.counters,
            signals=tuple(map(signal_name, scope.signals)),
        )
        reply = await self._read(ask)
        found = found_of(reply, scope.counters, scope.contacts_since)
        members = names_in_order(reply.names)
        if members and scope.now is not None:
            self._keep(members[0], Seen(scope, found))
        return Snapshot(
            members=members if len(members) > 1 else (),
            consents=consents_of(reply),
            contacts=found.contacts,
            interactions=in_order(map(_interaction_of, reply.interactions)),
            arms=found.arms,
            pauses=tuple(sorted(action for action, paused in values_of(reply.pauses).items() if paused == "1")),
            usage=found.usage,
            signals=signals_of(reply),
        )

    async def reserve(self, proposal: Proposal, now: datetime, log_id: str = "") -> Grant:
        record, since, names = proposal.record, horizon(proposal, now), counters(proposal, now)
        seen = self._lately.pop(record.customer_id or "", None)
        if seen is not None and is_enough(seen, record.decision_id, since, names):
            grant = await self._reserve_as_seen(proposal, now, seen.found, log_id)
            if grant is not None:
                return grant
        ask = Ask(
            log_id=log_id,
            customer_id=record.customer_id,
            now=str(to_microseconds(now)),
            overdue_rows=_OVERDUE_ROWS,
            contacts_since=later_than(since),
            decisions=(record.decision_id,),
            counters=tuple(names),
        )
        return await self._until_unchanged(
            ask, lambda reply: reservation(proposal, now, found_of(reply, names, since), log_id)
        )

    async def commit(self, decision_id: str, slot: int, event_id: str, impressed_at: datetime) -> None:
        seen = ActionSeen(decision_id=decision_id, event_id=event_id, slot=slot, action=None, at=impressed_at)
        await self._take_effect([seen], Writes())

    async def release(self, decision_id: str, slot: int) -> None:
        def plan(found: Reply) -> tuple[None, Writes]:
            (known,) = found.decisions
            writes = Writes(decisions={decision_id: known})
            before = entries_of(known)
            write_change(writes, before, ledger.released(before, slot))
            return None, writes

        await self._until_unchanged(Ask(decisions=(decision_id,)), plan)

    async def apply(
        self,
        records: Sequence[Envelope],
        offset: int | None,
        log_id: str = "",
        *,
        after: int | None = None,
        is_end: bool = False,
    ) -> None:
        """As the protocol says; a long batch is cut, and only its last part moves the offset."""
        changes = well_formed(records)
        if not changes and offset is None:
            return
        parts = list(parts_of(changes)) or [Others([])]
        for number, part in enumerate(parts, start=1):
            writes = Writes()
            if offset is not None:
                writes.part = Part(log_id, offset, after=after, is_end=is_end, has_more=number < len(parts))
            match part:
                case Ties(said):
                    await self._graph.tie(said, writes)
                case CustomerErased(names=names):
                    for name in names:
                        await self._forget(name, msgspec.structs.replace(writes, part=_with_more(writes.part)))
                    await self._graph.forget(names, writes)  # who they were one with comes last
                case Others(effects):
                    await self._take_effect(effects, writes)

    async def overruns(self) -> int:
        return int(await self._fact(_OVERRUNS) or 0)

    async def forget_before(self, contacts: datetime, interactions: datetime) -> None:
        noted = int(await self._fact(_FORGOTTEN) or 0)
        await self._server.ask("HSET", _FACTS, _FORGOTTEN, max(noted, to_microseconds(contacts)))
        await self._server.ask("UNLINK", f"{PREFIX}identifiers")  # of the form before, which no erasure would find
        async for found in self._scan("HSCAN", f"{PREFIX}contacts"):
            old = [id_ for id_, text in zip(found[::2], found[1::2], strict=True) if is_lapsed(text, contacts)]
            if decisions := tuple(dict.fromkeys(decision_of(id_) for id_ in old)):
                await self._until_unchanged(Ask(decisions=decisions), partial(lapsed, decisions, contacts))
        at = str(to_microseconds(interactions))
        async for found in self._scan("SCAN", "MATCH", f"{PREFIX}interactions:*"):
            for key in found:
                while await self._server.run(FORGET, key, at):
                    pass

    async def _scan(self, command: str, *words: str) -> AsyncIterator[list[str]]:
        """What there is of a kind, some at a time; some of it perhaps twice."""
        before, after = (words, ()) if command == "HSCAN" else ((), words)
        cursor = "0"
        while True:
            cursor, found = await self._server.ask(command, *before, cursor, *after, "COUNT", _FORGOTTEN_AT_ONCE)
            yield found
            if cursor == "0":
                return

    async def rewind(self, log_id: str = "") -> None:
        await self._server.ask("HSET", _FACTS, f"{_OFFSET}:{log_id}", 0)

    async def applied_offset(self, log_id: str = "") -> int:
        return int(await self._fact(f"{_OFFSET}:{log_id}") or 0)

    async def is_caught_up(self, log_id: str = "") -> bool:
        return await self._fact(f"{_CAUGHT_UP}:{log_id}") is not None

    async def clear(self) -> None:
        """As the protocol says; the server does nothing else meanwhile: about a second for a million keys."""
        await self._server.run(CLEAR)

    async def projected(self, name: str, log_id: str, keys: Sequence[str]) -> Projected:
        return await redis_projections.projected(self._server, name, log_id, keys)

    async def project(self, name: str, log_id: str, values: Values, *, after: int, offset: int) -> bool:
        return await redis_projections.project(self._server, name, log_id, values, after=after, offset=offset)

    async def projections(self, log_id: str) -> dict[str, int]:
        return await redis_projections.offsets(self._server, log_id)

    async def discard(self, name: str) -> None:
        await redis_projections.discard(self._server, name)

    async def publish_policy(self, policy_hash: str) -> None:
        await self._server.ask("HSET", _FACTS, _POLICY, policy_hash)

    async def current_policy(self) -> str | None:
        return await self._fact(_POLICY)

    async def publish_model_set(self, model_set_id: str) -> None:
        await self._server.ask("HSET", _FACTS, _MODEL_SET, model_set_id)

    async def current_model_set(self) -> str | None:
        return await self._fact(_MODEL_SET)

    def close(self) -> None:
        self._server.close()

    async def _fact(self, name: str) -> str | None:
        value: str | None = await self._server.ask("HGET", _FACTS, name)
        return value

    def _keep(self, customer_id: str, seen: Seen) -> None:
        """Keep what was read for the reservation that follows it, as a rule."""
        self._lately[customer_id] = seen
        while len(self._lately) > _KEPT:
            self._lately.popitem(last=False)

    async def _reserve_as_seen(self, proposal: Proposal, now: datetime, found: Found, log_id: str) -> Grant | None:
        """Reserve by what the snapshot found, without reading again: none where anything has changed since.

        What is written tests all that the grant rests on, as after a reading of its own. Only what has expired in
        between would not be given back first: so nothing is granted this way when a limit has no room.
        """
        if is_short(proposal, now, found):
            return None
        grant, writes = reservation(proposal, now, found, log_id)
        return grant if writes is None or await self._write(writes) else None

    async def _take_effect(self, changes: Sequence[Effect], writes: Writes) -> None:
        about = (each.decision_id for each in changes if isinstance(each, DecisionMade | ActionSeen))
        ask = Ask(decisions=tuple(dict.fromkeys(about)))
        await self._until_unchanged(ask, lambda found: (None, applied(changes, writes, ask, found)))

    async def _forget(self, name: str, base: Writes) -> None:
        def plan(found: Reply) -> tuple[None, Writes]:
            writes = msgspec.structs.replace(base, versions=versions_of(found), forget=[name])
            own = {entry.key: entry for entry in kept(found.contacts) if entry.customer_id == name}
            write_change(writes, own, ledger.forgotten(own))
            return None, writes

        await self._until_unchanged(Ask(customer_id=name, contacts_since="-inf"), plan)

    async def _until_unchanged(self, ask: Ask, plan: Callable[[Reply], tuple[T, Writes | None]]) -> T:
        """Read, plan and write, until nothing that the plan rests on has changed between reading and writing.

        It fails only because another call succeeded, and what is written twice, for want of an answer, changes nothing.
        """
        while True:
            result, writes = plan(await self._read(ask))
            if writes is None or await self._write(writes):
                return result

    async def _read(self, ask: Ask) -> Reply:
        reply = msgspec.convert(await self._server.run(READ, _encode(ask)), Reply)
        if not reply.is_caught_up:
            raise StateBehindError
        return reply

    async def _write(self, writes: Writes) -> bool:
        return bool(await self._server.run(WRITE, _encode(writes)))


def _with_more(part: Part | None) -> Part | None:
    return part and msgspec.structs.replace(part, has_more=True)
