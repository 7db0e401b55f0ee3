-- Calls every command that the other scripts call, on test keys, and then removes these keys. If the node refuses one
-- of the commands, the reply is an error.
-- KEYS: a record's key, the two keys of its group, another record's key
-- ARGV: nonce
-- Reply: 'ok', what was read
--        an error that names the command
local key, members, joined, other = unpack(KEYS)

local LIFE = 10000
local steps = {
  { 'HSET', key, ':probe', nonce }, -- THE FIRST WRITE adds, so a full memory refuses the probe.
  { 'PEXPIRE', key, LIFE },
  { 'ZADD', members, 1, nonce },
  { 'PEXPIREAT', members, now + LIFE },
  { 'ZADD', joined, 'NX', 1, nonce },
  { 'PEXPIRE', joined, LIFE },
  { 'HMGET', key, ':probe' },
  { 'HGETALL', key },
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
  { 'ZREMRANGEBYSCORE', joined, '-inf', 0 },
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
