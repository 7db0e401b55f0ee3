-- Ends all sessions of a group in one step, but one if need be: what is no member is dead. Their records are removed
-- afterwards, with sweep.lua. KEYS: the group's two, the one under which those that ended are remembered for that, and the
-- record's of the session that stays, if one does.
-- ARGV: nonce, the id of the session that stays ('' none), how many ids to answer with, how long to remember them (ms).
local members, joined, ended, stays = KEYS[1], KEYS[2], KEYS[3], ARGV[2]
local left = KEYS[4] and redis.pcall('HMGET', KEYS[4], 'f', 'u') or {}
local id = forward(left[1], left[2])
if id then
  return { nonce, 'forward', id }
elseif redis.call('TYPE', members).ok ~= 'zset' then
  -- It is damaged, or not there.
  if redis.call('UNLINK', members, joined) == 0 and redis.call('EXISTS', ended) == 0 then
    touch_nothing(ended)
  end
elseif redis.call('EXISTS', ended) == 0 then -- Else this call was made before.
  local expires = stays ~= '' and redis.call('ZSCORE', members, stays)
  local since = expires and redis.pcall('ZSCORE', joined, stays)
  since = tonumber(since) or now_ms()
  if expires then
    redis.call('ZADD', members, expires, stays) -- Changes nothing, but is refused where the memory is full.
  end
  redis.call('RENAME', members, ended)
  redis.call('UNLINK', joined)
  if expires then
    redis.call('ZREM', ended, stays)
    redis.call('ZADD', members, expires, stays)
    redis.call('ZADD', joined, since, stays)
    redis.call('PEXPIREAT', members, expires)
    redis.call('PEXPIREAT', joined, expires)
  end
end
redis.call('PEXPIRE', ended, ARGV[4]) -- Of a call that was made before too: see touch.
return { nonce, 'ok', redis.call('ZCOUNT', ended, now_ms(), '+inf'), redis.call('ZRANGE', ended, 0, ARGV[3] - 1) }
