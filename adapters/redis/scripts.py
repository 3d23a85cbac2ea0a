"""What Redis does as one, in Lua. Of a workflow `w` and its shard `n` it has, under `streamwf:w:n`:

`owner`  a hash: the token of the owner, the position, and with which token that was stored.
`rows`   a hash from the key of a row to its record.
`index`  a hash from the key of a row to what else says of it: four bytes of length, its run id, and
         the instants at which something of it is due.
`due`    a sorted set of what is due: an instant and the key of the row.

and under `streamwf:w`:

`shards`   a set of their numbers.
`runs`     a hash from a run id to the instant at which it was created, and its shard, `:` and key.
`created`  a sorted set of the runs that lists are of: that instant and the run id.

Instants are eight bytes that order as they do.

`streamwf:roles` is a hash from a role to its lease: its holder and its heir (or nothing), its
token, and until when it is held, in microseconds since 1970 by the server's clock.
"""

#: KEYS: owner, shards, workflows. ARGV: token, number, workflow. Gives nothing to the overtaken.
OPEN = """
local token = redis.call('HGET', KEYS[1], 'token')
if token and tonumber(token) > tonumber(ARGV[1]) then
  return false
end
redis.call('HSET', KEYS[1], 'token', ARGV[1])
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[3], ARGV[3])
return {redis.call('HGET', KEYS[1], 'position')}
"""

#: KEYS: owner, rows, index, due, runs, created. ARGV: token, number, position, that of the last
#: checkpoint which its sender knows to be there; and of each row its key, record or nothing, run
#: id, when it was created, whether lists are of it, what is due of it. Gives what became of it.
STORE = """
local owner = redis.call('HMGET', KEYS[1], 'token', 'position', 'by')
local token, position = tonumber(owner[1]), tonumber(owner[2] or '-1')
if token and token > tonumber(ARGV[1]) then
  return 'fenced'
end
if not token or position < tonumber(ARGV[4]) then
  return 'lost'
end
-- One that its sender has given up may come after those that were stored since.
if owner[3] == ARGV[1] and position > tonumber(ARGV[3]) then
  return 'stored'
end
for i = 5, #ARGV, 6 do
  local key, known = ARGV[i], redis.call('HGET', KEYS[3], ARGV[i])
  if known then
    local size = struct.unpack('>I4', known)
    local run = string.sub(known, 5, 4 + size)
    for at = 5 + size, #known, 8 do
      redis.call('ZREM', KEYS[4], string.sub(known, at, at + 7) .. key)
    end
    local place = redis.call('HGET', KEYS[5], run)
    -- The run may have gone to another row already.
    if place and string.sub(place, 9) == ARGV[2] .. ':' .. key then
      redis.call('HDEL', KEYS[5], run)
      redis.call('ZREM', KEYS[6], string.sub(place, 1, 8) .. run)
    end
    redis.call('HDEL', KEYS[2], key)
    redis.call('HDEL', KEYS[3], key)
  end
  local record, run = ARGV[i + 1], ARGV[i + 2]
  local created, listed, due = ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  if record ~= '' then
    redis.call('HSET', KEYS[2], key, record)
    redis.call('HSET', KEYS[3], key, struct.pack('>I4', #run) .. run .. due)
    for at = 1, #due, 8 do
      redis.call('ZADD', KEYS[4], 0, string.sub(due, at, at + 7) .. key)
    end
    redis.call('HSET', KEYS[5], run, created .. ARGV[2] .. ':' .. key)
    if listed == '1' then
      redis.call('ZADD', KEYS[6], 0, created .. run)
    end
  end
end
redis.call('HSET', KEYS[1], 'position', ARGV[3], 'by', ARGV[1])
return 'stored'
"""

#: KEYS: runs. ARGV: what the names of shards begin with, and run ids. Gives a record for each.
RECORDS = """
local found = {}
for i = 2, #ARGV do
  local place = redis.call('HGET', KEYS[1], ARGV[i])
  found[i - 1] = false
  if place then
    local colon = string.find(place, ':', 9, true)
    local shard, key = string.sub(place, 9, colon - 1), string.sub(place, colon + 1)
    found[i - 1] = redis.call('HGET', ARGV[1] .. shard .. ':rows', key)
  end
end
return found
"""

_LEASES = """
local time = redis.call('TIME')
local now, me = time[1] * 1000000 + time[2], ARGV[1]
local function lease_of(role)
  local found = redis.call('HGET', KEYS[1], role)
  return found and cmsgpack.unpack(found)
end
local function is_free(lease)
  local kept_for_me = lease[1] == '' and lease[2] == me
  return lease[4] < now or lease[1] == me or kept_for_me
end
local function put(role, holder, heir, token, held_until)
  redis.call('HSET', KEYS[1], role, cmsgpack.pack({holder, heir, token, held_until}))
end
"""

#: KEYS of this and the following: roles. ARGV: who asks, of all of them; then, of this, roles.
#: Gives a lease or nothing for each.
LOOK = f"""{_LEASES}
local leases = {{}}
for i = 2, #ARGV do
  local lease = lease_of(ARGV[i])
  leases[i - 1] = false
  if lease then
    local live = lease[4] >= now
    local holder, heir = live and lease[1] or '', live and lease[2] or ''
    leases[i - 1] = {{holder, heir, lease[3], is_free(lease) and 1 or 0}}
  end
end
return leases
"""

#: ARGV: how long a lease lasts, roles. Gives a token or 0 for each.
TAKE = f"""{_LEASES}
local tokens = {{}}
for i = 3, #ARGV do
  local lease = lease_of(ARGV[i]) or {{'', '', 0, 0}}
  tokens[i - 2] = 0
  if is_free(lease) then
    -- By the clock: what was given out is not given out again by a server that has forgotten it.
    tokens[i - 2] = math.max(lease[3] + 1, now)
    put(ARGV[i], me, '', tokens[i - 2], now + ARGV[2])
  end
end
return tokens
"""

#: ARGV: how long a lease lasts, roles.
RENEW = f"""{_LEASES}
for i = 3, #ARGV do
  local lease = lease_of(ARGV[i])
  if lease and lease[1] == me then
    put(ARGV[i], me, lease[2], lease[3], now + ARGV[2])
  end
end
"""

#: ARGV: roles.
ASK = f"""{_LEASES}
for i = 2, #ARGV do
  local lease = lease_of(ARGV[i])
  if lease and lease[1] ~= '' and lease[2] == '' then
    put(ARGV[i], lease[1], me, lease[3], lease[4])
  end
end
"""

#: ARGV: how long a role is kept for its heir, `all` or `these`, roles and their tokens in turn.
RELEASE = f"""{_LEASES}
local function release(role, token)
  local lease = lease_of(role)
  if lease and lease[1] == me and (not token or lease[3] == token) then
    local held_until = lease[2] ~= '' and now + ARGV[2] or 0
    put(role, '', lease[2], lease[3], held_until)
  end
end
if ARGV[3] == 'all' then
  for _, role in ipairs(redis.call('HKEYS', KEYS[1])) do
    release(role)
  end
end
for i = 4, #ARGV, 2 do
  release(ARGV[i], tonumber(ARGV[i + 1]))
end
"""
