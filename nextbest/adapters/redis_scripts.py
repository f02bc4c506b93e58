"""The Lua scripts of State on Redis: one reads, one writes if what was read still holds, others forget and empty.

Belongs here: what must happen in one step on the server. Does not belong here: what they are told and reply
(`nextbest.adapters.redis_messages`), who is one and projections, which have their own (`redis_identity`,
`redis_projections`), or any arithmetic of caps and limits (`nextbest.reservations`) and of contacts
(`nextbest.ledger`): Python does it between the two.

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

from nextbest.adapters.redis_line import Script

READ = Script.of("""
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
""")

WRITE = Script.of("""
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
""")

CLEAR = Script.of("""
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
""")

FORGET = Script.of("""
local p, key, moment = KEYS[1], unpack(ARGV)
local ids = redis.call('ZRANGEBYSCORE', key, '-inf', moment, 'LIMIT', 0, 500)
if ids[1] then
  redis.call('HDEL', p .. 'interactions', unpack(ids))
  redis.call('ZREM', key, unpack(ids))
end
return #ids
""")
"""Of a customer's interactions, up to 500 that are no later than a moment; how many those were."""
