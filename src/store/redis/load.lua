-- Reads a record, and extends its life if that is due.
-- ARGV: nonce, refresh interval (ms; below 0: never).
local fields = redis.call('HGETALL', key)
if #fields == 0 then
  return { nonce, 'gone' }
end
local about = redis.call('HMGET', key, 'i', 'a')
local idle, ends = tonumber(about[1] or ''), tonumber(about[2] or '')
if not idle or not ends then
  return { nonce, 'corrupt' }
end
local interval, left, refreshed = tonumber(ARGV[2]), redis.call('PTTL', key), 0
if left < 0 or (interval >= 0 and left < idle) then
  local life = full_life(idle, interval, ends, now_ms())
  -- A refresh that cannot be written (a replica, say) does not fail the load.
  if life > left and redis.pcall('PEXPIRE', key, life) == 1 then
    refreshed = 1
  end
end
local reply = standing('ok')
reply[9], reply[10] = refreshed, fields
return reply
