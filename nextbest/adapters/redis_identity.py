"""Who is one, on Redis: the ties and groups of the graph, read and written only where nothing of it changed meanwhile.

Belongs here: reading the nodes that a change needs, and planning what becomes of them, until it could be written. Does
not belong here: which ties hold and how far they reach (`nextbest.identity`), the script that writes
(`nextbest.adapters.redis_scripts`), or what is kept under a name (`nextbest.adapters.redis_state`).
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence

import msgspec

from nextbest import identity
from nextbest.adapters.redis_line import Script
from nextbest.adapters.redis_messages import Writes
from nextbest.adapters.redis_plans import node_of, tie_of, tied
from nextbest.adapters.redis_server import PREFIX, Server
from nextbest.identity import TIES_READ, Alter, Limits, NamesTied, Node, Tie
from nextbest.unions import names_in_order

_encode = msgspec.json.encode

_GROUPS = Script.of("""
local p, groups = KEYS[1], {}
for i, name in ipairs(cjson.decode(ARGV[1])) do
  local whose = redis.call('HGET', p .. 'members', name)
  groups[i] = whose and redis.call('SMEMBERS', p .. 'group:' .. whose) or {}
end
return groups
""")
"""Of names the names of their customers; none of those who stand alone."""

_NODES = Script.of("""
local p = KEYS[1]
local nodes = {}
for i, asked in ipairs(cjson.decode(ARGV[1])) do
  local name, most = unpack(asked)
  local ties, key = {}, p .. 'ties:' .. name
  if most > 0 and redis.call('HLEN', key) > most then
    ties = redis.call('HRANDFIELD', key, most, 'WITHVALUES')
  else
    ties = redis.call('HGETALL', key)
  end
  local whose = redis.call('HGET', p .. 'members', name)
  local group = whose and redis.call('SMEMBERS', p .. 'group:' .. whose) or {}
  nodes[i] = {ties, group, redis.call('HGET', p .. 'nodes', name) or '0'}
end
return {redis.call('HGET', p .. 'facts', 'emptied') or '0', nodes}
""")
"""How often State was emptied, and of names their ties, or some where there are many, groups, and their changes."""


class Graph:
    """The graph of names; `write` writes a plan if what it rests on still holds, and says whether it did."""

    def __init__(self, server: Server, write: Callable[[Writes], Awaitable[bool]], limits: Limits) -> None:
        self._server = server
        self._write = write
        self._limits = limits

    async def members(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """By name all that its customer goes by."""
        groups = await self._server.run(_GROUPS, _encode(names))
        return {name: names_in_order(group) or (name,) for name, group in zip(names, groups, strict=True)}

    async def neighbours(self, names: Sequence[str]) -> set[str]:
        """What names were tied to."""
        found = [await self._server.ask("HKEYS", f"{PREFIX}ties:{name}") for name in names]
        return {str(end) for ends in found for end in ends}

    async def tie(self, said: Sequence[NamesTied], base: Writes) -> None:
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
            texts = await self._server.ask("HMGET", f"{PREFIX}ties:{name}", *(each.other for each in ties))
            kept |= {each: tie_of(text) for each, text in zip(ties, texts, strict=True)}
        return kept

    async def forget(self, names: Sequence[str], base: Writes) -> None:
        """Nothing was ever said of `names`."""
        while True:
            near = await self.neighbours(names)
            await self._regroup(near | {*names}, identity.leaving(names), base)
            base.untie = [pair for name in names for end in near for pair in ((name, end), (end, name))]
            base.erased = [*names]
            # Somebody may have been tied to them before the nodes were read.
            if await self.neighbours(names) <= near and await self._write(base):
                return

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
        emptied, nodes = await self._server.run(_NODES, _encode(asked))
        found = {name: node_of(ties, group) for name, (ties, group, _) in zip(names, nodes, strict=True)}
        return emptied, found, {name: version for name, (_, _, version) in zip(names, nodes, strict=True)}
