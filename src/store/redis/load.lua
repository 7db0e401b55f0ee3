-- Reads a record, and extends its life if that is due.
-- ARGV: nonce, refresh interval (ms; below 0: never).
local fields = redis.call('HGETALL', key)
if #fields == 0 then
  return { nonce, 'gone' }
end
local reply = standing('ok')
local ends, idle, now, left = tonumber(reply[5]), tonumber(reply[6]), reply[7], reply[8]
if not (reply[3] and reply[4] and ends and idle) then
  return { nonce, 'corrupt' }
end
local interval, refreshed = tonumber(ARGV[2]), 0
if left < 0 or (interval >= 0 and left < idle) then
  local life = full_life(idle, interval, ends, now)
  -- A refresh that cannot be written (a replica, say) does not fail the load.
  if life > left and redis.pcall('PEXPIRE', key, life) == 1 then
    reply[8], refreshed = life, 1
  end
end
reply[9], reply[10] = refreshed, fields
return reply
