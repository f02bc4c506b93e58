"""State on Redis: one server that all processes of a home share.

Belongs here: what is asked, and that a plan is written only if nothing it rests on has changed meanwhile; otherwise all
of it is done again. Does not belong here: the plans (`nextbest.adapters.redis_plans`), the steps on the server
(`nextbest.adapters.redis_scripts`), or what a record means (`nextbest.state`).
"""

from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import hiredis
import msgspec

from nextbest import identity, ledger
from nextbest.adapters.redis_line import LineError, Lines, Word, packed, run_script
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
    node_of,
    parts_of,
    reservation,
    signals_of,
    tie_of,
    tied,
    values_of,
    versions_of,
    write_change,
)
from nextbest.adapters.redis_scripts import (
    CLEAR,
    CLEAR_DIGEST,
    DISCARD,
    DISCARD_DIGEST,
    FORGET,
    FORGET_DIGEST,
    GROUPS,
    GROUPS_DIGEST,
    NODES,
    NODES_DIGEST,
    PREFIX,
    PROJECT,
    PROJECT_DIGEST,
    PROJECTED,
    PROJECTED_DIGEST,
    READ,
    READ_DIGEST,
    WRITE,
    WRITE_DIGEST,
    Ask,
    Reply,
    Writes,
)
from nextbest.adapters.state_effects import Others, Part, Ties, signal_name, well_formed
from nextbest.envelope import Envelope, Identifier
from nextbest.identity import TIES_READ, USUAL_LIMITS, Alter, Limits, NamesTied, Node, Tie
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
    StateUnavailableError,
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
_OVERFLOW = "not an integer or out of range"
_encode = msgspec.json.encode
_interaction_of = msgspec.json.Decoder(Interaction).decode


class RedisState:
    """A `State` on the server at `url`; a command that has no answer after `patience_s` seconds fails."""

    def __init__(self, url: str, patience_s: float, limits: Limits = USUAL_LIMITS) -> None:
        self._limits = limits
        self._lines = Lines(url, patience_s)
        self._lately: OrderedDict[str, Seen] = OrderedDict()

    async def customer_of(self, identifiers: Sequence[Identifier]) -> str | None:
        if not identifiers:
            return None
        names = [identity.name_of(each) for each in identifiers]
        found: list[str | None] = await self._ask("HMGET", f"{PREFIX}members", *names)
        return next(filter(None, found), names[0])

    async def members(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        groups = await self._script(GROUPS_DIGEST, GROUPS, _encode(names))
        return {name: names_in_order(group) or (name,) for name, group in zip(names, groups, strict=True)}

    async def neighbours(self, names: Sequence[str]) -> set[str]:
        found = [await self._ask("HKEYS", f"{PREFIX}ties:{name}") for name in names]
        return {str(end) for ends in found for end in ends}

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
                    await self._tie(said, writes)
                case CustomerErased(names=names):
                    await self._forget(names, writes)
                case Others(effects):
                    await self._take_effect(effects, writes)

    async def overruns(self) -> int:
        return int(await self._fact(_OVERRUNS) or 0)

    async def forget_before(self, contacts: datetime, interactions: datetime) -> None:
        noted = int(await self._fact(_FORGOTTEN) or 0)
        await self._ask("HSET", _FACTS, _FORGOTTEN, max(noted, to_microseconds(contacts)))
        await self._ask("UNLINK", f"{PREFIX}identifiers")  # of the form before, which no erasure would find
        async for found in self._scan("HSCAN", f"{PREFIX}contacts"):
            old = [id_ for id_, text in zip(found[::2], found[1::2], strict=True) if is_lapsed(text, contacts)]
            if decisions := tuple(dict.fromkeys(decision_of(id_) for id_ in old)):
                await self._until_unchanged(Ask(decisions=decisions), partial(lapsed, decisions, contacts))
        at = str(to_microseconds(interactions))
        async for found in self._scan("SCAN", "MATCH", f"{PREFIX}interactions:*"):
            for key in found:
                keys = (2, key, f"{PREFIX}interactions", at)
                while await _answer(run_script(self._lines.here(), FORGET_DIGEST, FORGET, keys)):
                    pass

    async def _scan(self, command: str, *words: str) -> AsyncIterator[list[str]]:
        """What there is of a kind, some at a time; some of it perhaps twice."""
        before, after = (words, ()) if command == "HSCAN" else ((), words)
        cursor = "0"
        while True:
            cursor, found = await self._ask(command, *before, cursor, *after, "COUNT", _FORGOTTEN_AT_ONCE)
            yield found
            if cursor == "0":
                return

    async def rewind(self, log_id: str = "") -> None:
        await self._ask("HSET", _FACTS, f"{_OFFSET}:{log_id}", 0)

    async def applied_offset(self, log_id: str = "") -> int:
        return int(await self._fact(f"{_OFFSET}:{log_id}") or 0)

    async def is_caught_up(self, log_id: str = "") -> bool:
        return await self._fact(f"{_CAUGHT_UP}:{log_id}") is not None

    async def clear(self) -> None:
        """As the protocol says; the server does nothing else meanwhile: about a second for a million keys."""
        await self._script(CLEAR_DIGEST, CLEAR)

    async def projected(self, name: str, log_id: str, keys: Sequence[str]) -> Projected:
        offset, values = await self._script(PROJECTED_DIGEST, PROJECTED, name, log_id, _encode(keys))
        found = zip(keys, values, strict=False)  # of another log there are no values
        return Projected(int(offset), {key: value for key, value in found if value is not None})

    async def project(self, name: str, log_id: str, values: Values, *, after: int, offset: int) -> bool:
        words = (name, log_id, str(after), str(offset), _encode(values))
        return bool(await self._script(PROJECT_DIGEST, PROJECT, *words))

    async def projections(self, log_id: str) -> dict[str, int]:
        found = await self._ask("HGETALL", f"{PREFIX}projections")
        kept = {name: text.split(" ", 1) for name, text in zip(found[::2], found[1::2], strict=True)}
        return {name: int(offset) if whose == log_id else 0 for name, (offset, whose) in kept.items()}

    async def discard(self, name: str) -> None:
        await self._script(DISCARD_DIGEST, DISCARD, name)

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

    async def _tie(self, said: Sequence[NamesTied], base: Writes) -> None:
        """Keep what was said of names; what was said before changes nothing."""
        kept = await self._kept(said)
        new = [each for each in said if kept[each] | each.tie != kept[each]]
        if not new:
            await self._write(base)
            return
        names, alter = {name for each in new for name in (each.one, each.other)}, identity.joining(new)
        while True:
            await self._regroup(names, alter, base)
            # Of an identifier with many ties not all were read. What is read after the nodes holds as long as they do.
            kept = await self._kept(new)
            if await self._write(tied([(each, kept[each]) for each in new], base)):
                return

    async def _kept(self, said: Sequence[NamesTied]) -> dict[NamesTied, Tie]:
        """What was said before of the same names."""
        of_name = defaultdict[str, list[NamesTied]](list)
        for each in said:
            of_name[each.one].append(each)
        kept: dict[NamesTied, Tie] = {}
        for name, ties in of_name.items():
            texts = await self._ask("HMGET", f"{PREFIX}ties:{name}", *(each.other for each in ties))
            kept |= {each: tie_of(text) for each, text in zip(ties, texts, strict=True)}
        return kept

    async def _forget(self, names: Sequence[str], base: Writes) -> None:
        """Forget what is known under each name, then who they were one with."""
        for name in names:
            await self._forget_name(name, msgspec.structs.replace(base, part=base.part and _with_more(base.part)))
        while True:
            near = await self.neighbours(names)
            await self._regroup(near | {*names}, identity.leaving(names), base)
            base.untie = [pair for name in names for end in near for pair in ((name, end), (end, name))]
            base.erased = [*names]
            # Somebody may have been tied to them before the nodes were read.
            if await self.neighbours(names) <= near and await self._write(base):
                return

    async def _forget_name(self, name: str, base: Writes) -> None:
        def plan(found: Reply) -> tuple[None, Writes]:
            writes = msgspec.structs.replace(base, versions=versions_of(found), forget=[name])
            own = {entry.key: entry for entry in kept(found.contacts) if entry.customer_id == name}
            write_change(writes, own, ledger.forgotten(own))
            return None, writes

        await self._until_unchanged(Ask(customer_id=name, contacts_since="-inf"), plan)

    async def _regroup(self, touched: Collection[str], alter: Alter, writes: Writes) -> None:
        """Say in `writes` whom names belong to once `touched` are altered, and what that rests on."""
        regrouping, seen = identity.regroup(touched, self._limits, alter), dict[str, str]()
        emptied, wanted = "", next(regrouping)
        try:
            while True:
                since, found, versions = await self._nodes([*wanted])
                emptied = emptied or since  # what was read before State was emptied is written nowhere
                seen |= versions
                wanted = regrouping.send(found)
        except StopIteration as end:
            writes.emptied, writes.nodes = emptied, [*seen.items()]
            writes.customers = [(name, customer or "") for name, customer in end.value.items()]

    async def _nodes(self, names: Sequence[str]) -> tuple[str, dict[str, Node], dict[str, str]]:
        """How often State was emptied; by name what is kept of it, and how often that was changed."""
        asked = [(name, TIES_READ if identity.is_identifier(name) else 0) for name in names]
        emptied, nodes = await self._script(NODES_DIGEST, NODES, _encode(asked))
        found = {name: node_of(ties, group) for name, (ties, group, _) in zip(names, nodes, strict=True)}
        return emptied, found, {name: version for name, (_, _, version) in zip(names, nodes, strict=True)}

    async def _until_unchanged(self, ask: Ask, plan: Callable[[Reply], tuple[T, Writes | None]]) -> T:
        """Read, plan and write, until nothing that the plan rests on has changed between reading and writing.

        It fails only because another call succeeded, and what is written twice, for want of an answer, changes nothing.
        """
        while True:
            result, writes = plan(await self._read(ask))
            if writes is None or await self._write(writes):
                return result

    async def _read(self, ask: Ask) -> Reply:
        reply = msgspec.convert(await self._script(READ_DIGEST, READ, _encode(ask)), Reply)
        if not reply.is_caught_up:
            raise StateBehindError
        return reply

    async def _write(self, writes: Writes) -> bool:
        return bool(await self._script(WRITE_DIGEST, WRITE, _encode(writes)))

    async def _script(self, digest: str, script: str, *words: Word) -> Any:
        return await _answer(run_script(self._lines.here(), digest, script, (1, PREFIX, *words)))

    async def _ask(self, *words: Word) -> Any:
        return await _answer(self._lines.here().ask(packed(*words)))


def _with_more(part: Part) -> Part:
    return msgspec.structs.replace(part, has_more=True)


async def _answer(reply: Awaitable[Any]) -> Any:
    """What the server replies; what it refuses because of a value is no fault of its own.

    Raises:
        StateUnavailableError: it cannot be used.
        OverflowError: a number is too large for it.

    """
    try:
        return await reply
    except hiredis.ReplyError as error:
        if _OVERFLOW in str(error):
            raise OverflowError(str(error)) from error
        raise StateUnavailableError(f"State cannot be used: {error}") from error
    except (LineError, hiredis.HiredisError) as error:
        raise StateUnavailableError(f"State cannot be used: {error}") from error
