-- Does, under keys of its own, what all other scripts do, and removes these keys: so a server that refuses any of it
-- says so.
-- KEYS: a record's, its group's two, and another record's. ARGV: nonce.
local key, members, joined, other = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local LIFE = 10000
local steps = {
  { 'HSET', key, ':probe', nonce }, -- The first one adds, so that a full memory refuses it.
  { 'PEXPIRE', key, LIFE },
  { 'ZADD', members, 1, nonce },
  { 'PEXPIREAT', members, now_ms() + LIFE },
  { 'ZADD', joined, 'NX', 1, nonce },
  { 'PEXPIRE', joined, LIFE },
  { 'HMGET', key, ':probe' },
  { 'HGETALL', key },
  { 'HEXISTS', key, ':probe' },
  { 'HKEYS', key },
  { 'HSTRLEN', key, ':probe' },
  { 'HDEL', key, 'v' },
  { 'EXISTS', key },
  { 'PTTL', key },
  { 'PERSIST', key },
  { 'TYPE', members },
  { 'ZCARD', members },
  { 'ZCOUNT', members, '-inf', '+inf' },
  { 'ZRANGE', members, 0, 0 },
  { 'ZRANGEBYSCORE', members, '-inf', '+inf' },
  { 'ZREVRANGE', members, 0, 0 },
  { 'ZSCORE', members, nonce },
  { 'ZREM', members, nonce },
  { 'RENAME', key, other },
  { 'HGET', other, ':probe' },
}
local found
for _, step in ipairs(steps) do
  found = redis.pcall(unpack(step))
  if type(found) == 'table' and found.err then
    redis.pcall('UNLINK', key, members, joined, other)
    return redis.error_reply(found.err .. ' (' .. step[1] .. ')')
  end
end
redis.call('UNLINK', key, members, joined, other)
return { nonce, 'ok', found }
