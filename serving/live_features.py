"""Live states of the log's customers: kept by State for each member id, and written to Feast for each customer.

Belongs here: whom a record concerns, and what becomes of their states. Does not belong here: what a state is
(`nextbest.live`), who is a customer's member (State), or how states are written (`serving.live_store`).
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from nextbest.envelope import Envelope
from nextbest.erasure import ERASURE
from nextbest.identity import names_in
from nextbest.live import LiveState, decode, encode, member_of, union
from nextbest.projection import Read, Values
from nextbest.state import State
from serving.live_store import LiveStore

_STATE, _GROUP = "state/", "group/"
"""How keys begin: of a name's state, and of all names of the customer that it was last written for."""
_group_of = msgspec.json.Decoder(tuple[str, ...]).decode


class LiveFeatures:
    """A projection of the log. A customer has the union of their members' states.

    What is written to Feast follows from what State keeps: done again after a crash in between, it comes to the same.
    """

    name = "live"
    rest_s = 0.0

    def __init__(self, state: State, store: LiveStore) -> None:
        self._state = state
        self._store = store

    async def fold(self, records: Sequence[tuple[int, Envelope]], read: Read) -> Values:
        """As the protocol says. A store in which nothing was ever written gets everything, from the log's beginning."""
        if await self._store.is_new():
            await self._state.discard(self.name)  # unless this is the beginning, what is folded now is folded again
            await self._store.begin()
        said = [record for _, record in records]
        news = [member for record in said if (member := member_of(record)) is not None]
        tied = [name for record in said for name in names_in(record)]
        if not news and not tied:
            return {}
        # Whoever was one with somebody whose names change may be somebody else's now.
        parted = [each for text in (await read(_keys(_GROUP, tied))).values() for each in _group_of(text)]
        groups = await self._state.members(list(dict.fromkeys([*news, *tied, *parted])))
        known = {member for group in groups.values() for member in group}
        kept = {key.removeprefix(_STATE): text for key, text in (await read(_keys(_STATE, known))).items()}
        values = _folded(said, kept)
        states = kept | values
        rows = {group[0]: _joined(states.get(member) for member in group) for group in groups.values()}
        changed = [groups[name] for name in (*tied, *parted)]
        rows |= {each: None for group in changed for each in group[1:]}
        await self._store.write(rows)
        return {_STATE + member: text for member, text in values.items()} | _written(changed)


def _keys(kind: str, names: Iterable[str]) -> list[str]:
    return [kind + name for name in sorted({*names})]


def _written(groups: Iterable[tuple[str, ...]]) -> dict[str, str | None]:
    """By name the customer that its state was written for; none for one that stands alone."""
    texts = ((group, msgspec.json.encode(group).decode() if len(group) > 1 else None) for group in groups)
    return {_GROUP + name: text for group, text in texts for name in group}


def _folded(records: Iterable[Envelope], kept: Mapping[str, str]) -> dict[str, str | None]:
    """What becomes of the states of members whom records are of; nothing of what was before an erasure."""
    states: dict[str, LiveState | None] = {}
    said: dict[str, list[Envelope]] = {}
    for record in records:
        if record.type == ERASURE:
            for each in names_in(record):
                states[each], said[each] = None, []
        elif (member := member_of(record)) is not None:
            said.setdefault(member, []).append(record)
    for member, news in said.items():
        if member not in states and member in kept:
            states[member] = decode(kept[member])
        before = states.get(member)
        if news:
            states[member] = union([before] if before else [], news)
    return {member: None if state is None else encode(state) for member, state in states.items()}


def _joined(texts: Iterable[str | None]) -> str | None:
    """The union of states, as text."""
    known = [text for text in texts if text is not None]
    return encode(union(map(decode, known))) if len(known) > 1 else next(iter(known), None)
