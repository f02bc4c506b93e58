"""The Lua scripts of State on Redis: one reads, one writes if what was read still holds, others forget and empty.

Belongs here: what must happen in one step on the server, and how it is asked for. Numbers that a script passes on are
below 2^53, for Lua knows doubles only; what it would join into text is text already. Does not belong here: any
arithmetic of caps and limits (`nextbest.reservations`), or of contacts (`nextbest.ledger`): Python does it between the
two.

Keys, all below one prefix:
    contacts          hash    id of a contact -> its entry
    decision:ID       set     ids of the decision's contacts
    customer:ID       sorted  ids of the customer's contacts, by the moment up to which they may count
    held, held:ID     sorted  ids of the contacts that are held, of everybody and of a customer, by their expiry
    usage:seen, :held hash    counter -> amount
    versions          hash    customer -> how often their contacts were changed
    interactions      hash    event id -> interaction
    interactions:ID   sorted  event ids of the customer's interactions, by moment
    consents:ID, arms:ID, pauses, signals
                      hash    name -> "moment rank value"
    ties:NAME         hash    name at the other end -> tie
    nodes             hash    name -> how often its ties, or whose it is, were changed
    members           hash    name -> customer, of those who go by several
    group:ID          set     names of such a customer
    projections       hash    name -> "offset log_id"
    projection:NAME   hash    key -> value
    facts             hash    log_offset/2:ID and caught_up/2:ID of each log, model_set_id, policy_hash, overruns, home
                              contacts_forgotten, emptied (how often State was, or somebody erased)

Offsets are named with the form of what is kept: a State of the form before has all of the log applied to it anew.
"""

import hashlib

import msgspec

from nextbest.adapters.state_effects import Part

PREFIX = "nextbest:"

Known = tuple[str, str, int]
"""The id of a contact, its entry as text, and 1 if it is held."""


class Ask(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to be read; with `now`, whatever has expired by then is given back first."""

    log_id: str = ""
    """Of the log that State must have caught up with; otherwise nothing is read, and nothing given back."""
    customer_id: str | None = None
    now: str | None = None
    overdue_rows: int = 0
    contacts_since: str = "+inf"
    interactions_since: str = "+inf"
    decisions: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()


class Contacts(msgspec.Struct, array_like=True):
    """A customer's contacts. A list of each kind costs the server half of what a list for each contact does."""

    ids: list[str] = []
    texts: list[str] = []
    held: list[str] = []
    """The ids of those that are."""


class Reply(msgspec.Struct, array_like=True):
    """What was read. A hash is a list of names and values in turn."""

    consents: list[list[str]]
    """By name of the customer's."""
    pauses: list[str]
    arms: list[list[str]]
    contacts: Contacts
    interactions: list[str]
    decisions: list[list[Known]]
    seen: list[str | None]
    held: list[str | None]
    versions: list[str | None]
    is_caught_up: int = 1
    forgotten: str | None = None
    """Up to when contacts have been forgotten; asked for with decisions."""
    names: list[str] = []
    """All that the customer goes by."""
    signals: list[str | None] = []


class Latest(msgspec.Struct, array_like=True):
    """A value that holds until one of a later moment is said; of two at the same moment the one of higher rank."""

    key: str
    name: str
    at: int
    rank: int
    text: str
    is_by_text: bool = False
    """Whether it overrules one of the same moment and rank where its text sorts after the other's."""


class Writes(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What must still hold, and what is written then."""

    log_id: str = ""
    """Of the log that State must have caught up with."""
    part: Part | None = None
    """Of which log the effects are: nothing is to be done where they do not follow, or are there already."""
    versions: list[tuple[str, str]] = []
    """Names of a customer's, and how often what is filed under each had been changed, or who it belongs to."""
    decisions: dict[str, list[Known]] = {}
    room: list[tuple[str, int, int, int]] = []
    """A counter, what the decision itself holds of it, and between what the rest must be."""
    put: list[tuple[str, str, str, str, int, int]] = []
    """Id, entry, decision, customer, the moment up to which it may count, and its expiry if it is held, else 0."""
    drop: list[tuple[str, str, str]] = []
    """Id, decision and customer."""
    usage: list[tuple[str, int, int]] = []
    latest: list[Latest] = []
    first: list[tuple[str, str, str]] = []
    """Key, name and text of what is kept where there is nothing yet."""
    interactions: list[tuple[str, str, int, str]] = []
    """Event id, customer, moment and interaction."""
    forget: list[str] = []
    """Names: everything else said of them goes."""
    emptied: str | None = None
    """How often State had been emptied, or somebody erased."""
    nodes: list[tuple[str, str]] = []
    """Names, and how often what ties each, or whose it is, had been changed."""
    ties: list[tuple[str, str, str]] = []
    """Two names and what was said of them."""
    untie: list[tuple[str, str]] = []
    customers: list[tuple[str, str]] = []
    """A name and the customer it belongs to; none where it stands alone."""
    erased: list[str] = []
    """Names of which not even that is left how often they were changed."""
    overruns: int = 0


READ = """
local p, ask = KEYS[1], cjson.decode(ARGV[1])
local customer = ask.customer_id

local function give_back(id)
  local entry = cjson.decode(redis.call('HGET', p .. 'contacts', id))
  redis.call('ZREM', p .. 'held', id)
  redis.call('ZREM', p .. 'held:' .. entry.customer_id, id)
  for counter, amount in pairs(entry.contact.takes) do
    redis.call('HINCRBY', p .. 'usage:held', counter, 0 - amount)
  end
end

local function values(hash, names)
  local found = {}
  for first = 1, #names, 1000 do -- more would not fit on the stack
    local some = redis.call('HMGET', p .. hash, unpack(names, first, math.min(first + 999, #names)))
    for i, value in ipairs(some) do found[first + i - 1] = value end
  end
  return found
end

local function entries(ids)
  local found = {}
  for i, id in ipairs(ids) do
    local is_held = redis.call('ZSCORE', p .. 'held', id) and 1 or 0
    found[i] = {id, redis.call('HGET', p .. 'contacts', id), is_held}
  end
  return found
end

if ask.log_id and redis.call('HEXISTS', p .. 'facts', 'caught_up/2:' .. ask.log_id) == 0 then
  return {{}, {}, {}, {}, {}, {}, {}, {}, {}, 0}
end
local names = {}
if customer then
  local whose = redis.call('HGET', p .. 'members', customer)
  names = whose and redis.call('SMEMBERS', p .. 'group:' .. whose) or {customer}
end
if ask.now then
  local everybody = redis.call('ZRANGEBYSCORE', p .. 'held', '-inf', ask.now, 'LIMIT', 0, ask.overdue_rows)
  for _, id in ipairs(everybody) do give_back(id) end
  for _, name in ipairs(names) do
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. 'held:' .. name, '-inf', ask.now)) do give_back(id) end
  end
end

local reply = {{}, redis.call('HGETALL', p .. 'pauses'), {}, {}, {}, {}, {}, {}, {}, 1, false, names, {}}
local function of_all(command, kind, ...)
  local found = names[1] and redis.call(command, p .. kind .. names[1], ...) or {}
  for i = 2, #names do
    for _, each in ipairs(redis.call(command, p .. kind .. names[i], ...)) do found[#found + 1] = each end
  end
  return found
end
for i, name in ipairs(names) do
  reply[1][i] = redis.call('HGETALL', p .. 'consents:' .. name)
  reply[3][i] = redis.call('HGETALL', p .. 'arms:' .. name)
  reply[9][i] = redis.call('HGET', p .. 'versions', name)
end
local ids = of_all('ZRANGEBYSCORE', 'customer:', ask.contacts_since or '+inf', '+inf')
if ids[1] then reply[4] = {ids, values('contacts', ids), of_all('ZRANGE', 'held:', 0, -1)} end
reply[5] = values('interactions', of_all('ZRANGEBYSCORE', 'interactions:', ask.interactions_since or '+inf', '+inf'))
for i, id in ipairs(ask.decisions or {}) do
  reply[6][i] = entries(redis.call('SMEMBERS', p .. 'decision:' .. id))
end
if ask.signals then reply[13] = values('signals', ask.signals) end
if ask.decisions then reply[11] = redis.call('HGET', p .. 'facts', 'contacts_forgotten') end
for i, counter in ipairs(ask.counters or {}) do
  reply[7][i] = redis.call('HGET', p .. 'usage:seen', counter)
  reply[8][i] = redis.call('HGET', p .. 'usage:held', counter)
end
return reply
"""

WRITE = """
local p, writes = KEYS[1], cjson.decode(ARGV[1])

local function number(hash, name)
  return tonumber(redis.call('HGET', p .. hash, name) or '0')
end

if writes.log_id and redis.call('HEXISTS', p .. 'facts', 'caught_up/2:' .. writes.log_id) == 0 then return 0 end
local part = writes.part
local function note_end()
  if part.is_end and not part.has_more then redis.call('HSET', p .. 'facts', 'caught_up/2:' .. part.log_id, 1) end
end
if part then
  local applied = number('facts', 'log_offset/2:' .. part.log_id)
  if part.after and part.after > applied then return 1 end
  if part.offset <= applied then
    note_end()
    return 1
  end
end
for _, version in ipairs(writes.versions or {}) do
  if number('versions', version[1]) ~= tonumber(version[2]) then return 0 end
end
if writes.emptied and number('facts', 'emptied') ~= tonumber(writes.emptied) then return 0 end
for _, node in ipairs(writes.nodes or {}) do
  if number('nodes', node[1]) ~= tonumber(node[2]) then return 0 end
end
for decision, known in pairs(writes.decisions or {}) do
  if redis.call('SCARD', p .. 'decision:' .. decision) ~= #known then return 0 end
  for _, entry in ipairs(known) do
    local is_held = redis.call('ZSCORE', p .. 'held', entry[1]) and 1 or 0
    if is_held ~= entry[3] or redis.call('HGET', p .. 'contacts', entry[1]) ~= entry[2] then return 0 end
  end
end
for _, room in ipairs(writes.room or {}) do
  local used = number('usage:seen', room[1]) + number('usage:held', room[1]) - room[2]
  if used < room[3] or used > room[4] then return 0 end
end

for _, use in ipairs(writes.usage or {}) do -- before anything is written: what is written stays
  if math.max(math.abs(use[2]), math.abs(use[3])) >= 2^53 then
    return redis.error_reply('ERR value is not an integer or out of range')
  end
end

for _, put in ipairs(writes.put or {}) do
  local id, entry, decision, customer, latest, expiry = unpack(put)
  redis.call('HSET', p .. 'contacts', id, entry)
  redis.call('SADD', p .. 'decision:' .. decision, id)
  if customer ~= '' then
    redis.call('ZADD', p .. 'customer:' .. customer, latest, id)
    redis.call('HINCRBY', p .. 'versions', customer, 1)
  end
  if expiry > 0 then
    redis.call('ZADD', p .. 'held', expiry, id)
    if customer ~= '' then redis.call('ZADD', p .. 'held:' .. customer, expiry, id) end
  else
    redis.call('ZREM', p .. 'held', id)
    redis.call('ZREM', p .. 'held:' .. customer, id)
  end
end
for _, drop in ipairs(writes.drop or {}) do
  local id, decision, customer = unpack(drop)
  redis.call('HDEL', p .. 'contacts', id)
  redis.call('SREM', p .. 'decision:' .. decision, id)
  redis.call('ZREM', p .. 'held', id)
  redis.call('ZREM', p .. 'held:' .. customer, id)
  redis.call('ZREM', p .. 'customer:' .. customer, id)
  if customer ~= '' then redis.call('HINCRBY', p .. 'versions', customer, 1) end
end
for _, use in ipairs(writes.usage or {}) do
  redis.call('HINCRBY', p .. 'usage:seen', use[1], use[2])
  redis.call('HINCRBY', p .. 'usage:held', use[1], use[3])
end
for _, said in ipairs(writes.latest or {}) do
  local key, name, at, rank, text, is_by_text = unpack(said)
  local kept = redis.call('HGET', p .. key, name) or ''
  local was, was_rank = string.match(kept, '^(%-?%d+) (%d+) ')
  was, was_rank = tonumber(was), tonumber(was_rank)
  local is_over = is_by_text and text > kept
  if not was or at > was or (at == was and (rank > was_rank or (rank == was_rank and is_over))) then
    redis.call('HSET', p .. key, name, text)
  end
end
for _, first in ipairs(writes.first or {}) do
  redis.call('HSETNX', p .. first[1], first[2], first[3])
end
for _, done in ipairs(writes.interactions or {}) do
  if redis.call('HSETNX', p .. 'interactions', done[1], done[4]) == 1 then
    redis.call('ZADD', p .. 'interactions:' .. done[2], done[3], done[1])
  end
end
for _, name in ipairs(writes.forget or {}) do
  for _, id in ipairs(redis.call('ZRANGE', p .. 'interactions:' .. name, 0, -1)) do
    redis.call('HDEL', p .. 'interactions', id)
  end
  redis.call('DEL', p .. 'consents:' .. name, p .. 'arms:' .. name, p .. 'interactions:' .. name)
end
for _, tie in ipairs(writes.ties or {}) do
  redis.call('HSET', p .. 'ties:' .. tie[1], tie[2], tie[3])
  redis.call('HINCRBY', p .. 'nodes', tie[1], 1)
end
for _, tie in ipairs(writes.untie or {}) do
  redis.call('HDEL', p .. 'ties:' .. tie[1], tie[2])
  redis.call('HINCRBY', p .. 'nodes', tie[1], 1)
end
for _, belongs in ipairs(writes.customers or {}) do
  local name, customer = unpack(belongs)
  local was = redis.call('HGET', p .. 'members', name) or ''
  if was ~= customer then
    if was ~= '' then redis.call('SREM', p .. 'group:' .. was, name) end
    if customer ~= '' then
      redis.call('HSET', p .. 'members', name, customer)
    else
      redis.call('HDEL', p .. 'members', name)
    end
  end
  if customer ~= '' then redis.call('SADD', p .. 'group:' .. customer, name) end
  redis.call('HINCRBY', p .. 'versions', name, 1)
  redis.call('HINCRBY', p .. 'nodes', name, 1)
end
for _, name in ipairs(writes.erased or {}) do
  redis.call('HDEL', p .. 'versions', name)
  redis.call('HDEL', p .. 'nodes', name)
end
if writes.erased then redis.call('HINCRBY', p .. 'facts', 'emptied', 1) end
if writes.overruns then redis.call('HINCRBY', p .. 'facts', 'overruns', writes.overruns) end
if part then
  if not part.has_more then redis.call('HSET', p .. 'facts', 'log_offset/2:' .. part.log_id, part.offset) end
  note_end()
end
return 1
"""

CLEAR = """
local p = KEYS[1]
local of_the_log = {}
for _, word in ipairs({'contacts', 'decision', 'customer', 'held', 'usage', 'versions', 'interactions', 'consents',
  'arms', 'ties', 'nodes', 'members', 'group', 'identifiers',
  'pauses', 'signals', 'projections', 'projection'}) do of_the_log[word] = true end
for _, key in ipairs(redis.call('KEYS', p .. '*')) do
  if of_the_log[string.match(key, '^[^:]*', #p + 1)] then redis.call('UNLINK', key) end
end
redis.call('HINCRBY', p .. 'facts', 'emptied', 1)
for _, name in ipairs(redis.call('HKEYS', p .. 'facts')) do
  if string.match(name, '^log_offset') or string.match(name, '^caught_up') or name == 'contacts_forgotten' then
    redis.call('HDEL', p .. 'facts', name)
  end
end
return 1
"""

FORGET = """
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 500)
if ids[1] then
  redis.call('HDEL', KEYS[2], unpack(ids))
  redis.call('ZREM', KEYS[1], unpack(ids))
end
return #ids
"""
"""Of a customer's interactions, up to 500 that are no later than a moment; how many those were."""

GROUPS = """
local p, groups = KEYS[1], {}
for i, name in ipairs(cjson.decode(ARGV[1])) do
  local whose = redis.call('HGET', p .. 'members', name)
  groups[i] = whose and redis.call('SMEMBERS', p .. 'group:' .. whose) or {}
end
return groups
"""
"""Of names the names of their customers; none of those who stand alone."""

NODES = """
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
"""
"""How often State was emptied, and of names their ties, or some where there are many, groups, and their changes."""

PROJECTED = """
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
"""
"""Offset and values of a projection, if it is of this log."""

PROJECT = """
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
"""
"""Values and offset are written where the offset is as it was read: 1, else 0."""

DISCARD = """
local p, name = KEYS[1], ARGV[1]
redis.call('HDEL', p .. 'projections', name)
redis.call('UNLINK', p .. 'projection:' .. name)
return 1
"""
"""In one step: whoever begins the projection anew in between would lose its first values, and keep the offset."""


def _digest(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


READ_DIGEST, WRITE_DIGEST, FORGET_DIGEST, CLEAR_DIGEST = map(_digest, (READ, WRITE, FORGET, CLEAR))
GROUPS_DIGEST, NODES_DIGEST = map(_digest, (GROUPS, NODES))
PROJECTED_DIGEST, PROJECT_DIGEST, DISCARD_DIGEST = map(_digest, (PROJECTED, PROJECT, DISCARD))
"""What the server calls them."""
