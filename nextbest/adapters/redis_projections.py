"""Projections on Redis: their values and offsets, each read or written in one step on the server.

Belongs here: the scripts that do it, and asking for them. Does not belong here: what is folded
(`nextbest.following`), or the names of all keys (`nextbest.adapters.redis_scripts`).
"""

from collections.abc import Sequence

import msgspec

from nextbest.adapters.redis_line import Script
from nextbest.adapters.redis_server import PREFIX, Server
from nextbest.projection import Projected, Values

_encode = msgspec.json.encode

_PROJECTED = Script.of("""
local p, name, log_id, keys = KEYS[1], ARGV[1], ARGV[2], cjson.decode(ARGV[3])
local kept = redis.call('HGET', p .. 'projections', name)
local offset, whose = string.match(kept or '', '^(%d+) (.*)$')
if whose ~= log_id then return {'0', {}} end
local values = {}
for first = 1, #keys, 1000 do -- more would not fit on the stack
  local some = redis.call('HMGET', p .. 'projection:' .. name, unpack(keys, first, math.min(first + 999, #keys)))
  for i, value in ipairs(some) do values[first + i - 1] = value end
end
return {offset, values}
""")
"""Offset and values of a projection, if it is of this log."""

_PROJECT = Script.of("""
local p, name, log_id, after, offset, values = KEYS[1], unpack(ARGV)
local kept = redis.call('HGET', p .. 'projections', name)
local was, whose = string.match(kept or '', '^(%d+) (.*)$')
if after ~= (whose == log_id and was or '0') then return 0 end
if whose ~= log_id then redis.call('UNLINK', p .. 'projection:' .. name) end
for key, value in pairs(cjson.decode(values)) do
  if value == cjson.null then
    redis.call('HDEL', p .. 'projection:' .. name, key)
  else
    redis.call('HSET', p .. 'projection:' .. name, key, value)
  end
end
redis.call('HSET', p .. 'projections', name, offset .. ' ' .. log_id)
return 1
""")
"""Values and offset are written where the offset is as it was read: 1, else 0."""

_DISCARD = Script.of("""
local p, name = KEYS[1], ARGV[1]
redis.call('HDEL', p .. 'projections', name)
redis.call('UNLINK', p .. 'projection:' .. name)
return 1
""")
"""In one step: whoever begins the projection anew in between would lose its first values, and keep the offset."""


async def projected(server: Server, name: str, log_id: str, keys: Sequence[str]) -> Projected:
    """What is kept under keys, and up to which offset."""
    offset, values = await server.run(_PROJECTED, name, log_id, _encode(keys))
    found = zip(keys, values, strict=False)  # of another log there are no values
    return Projected(int(offset), {key: value for key, value in found if value is not None})


async def project(server: Server, name: str, log_id: str, values: Values, *, after: int, offset: int) -> bool:
    """Write values and offset where the offset is still `after`; else nothing, and false."""
    return bool(await server.run(_PROJECT, name, log_id, str(after), str(offset), _encode(values)))


async def offsets(server: Server, log_id: str) -> dict[str, int]:
    """By name how far each projection is; 0 of one of another log."""
    found = await server.ask("HGETALL", f"{PREFIX}projections")
    kept = {name: text.split(" ", 1) for name, text in zip(found[::2], found[1::2], strict=True)}
    return {name: int(offset) if whose == log_id else 0 for name, (offset, whose) in kept.items()}


async def discard(server: Server, name: str) -> None:
    """Forget a projection as a whole."""
    await server.run(_DISCARD, name)
