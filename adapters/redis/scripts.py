"""What Redis does as one, in Lua. Of a workflow `w` and its shard `n` it has, under `streamwf:w:n`:

`owner`  a hash: the token of the owner, and the position.
`rows`   a hash from the key of a row to its record.
`index`  a hash from the key of a row to what else says of it: four bytes of length, its run id, and
         the instants at which something of it is due.
`due`    a sorted set of what is due: an instant and the key of the row.

and under `streamwf:w`:

`shards`   a set of their numbers.
`runs`     a hash from a run id to the instant at which it was created, and its shard, `:` and key.
`created`  a sorted set of the runs that lists are of: that instant and the run id.

Instants are eight bytes that order as they do.
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

#: KEYS: owner, rows, index, due, runs, created. ARGV: token, number, position, and of each row its
#: key, record or nothing, run id, when it was created, whether lists are of it, what is due of it.
STORE = """
local token = redis.call('HGET', KEYS[1], 'token')
if not token or tonumber(token) > tonumber(ARGV[1]) then
  return 0
end
-- One that its sender has given up may come after those that were stored since.
local position = redis.call('HGET', KEYS[1], 'position')
if position and tonumber(position) > tonumber(ARGV[3]) then
  return 1
end
for i = 4, #ARGV, 6 do
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
redis.call('HSET', KEYS[1], 'position', ARGV[3])
return 1
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
