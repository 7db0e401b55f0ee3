-- Brings a record to life that has come from another slot.
-- ARGV: nonce, refresh interval (ms), whether it joins a group (0 or 1), how many sessions the group may have ('' any
--       number), absolute timeout from joining (ms; '' none), the four fields of nonces that it had; then the fields
--       whose values to answer with.
local interval, joins, max_sessions, absolute = tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('EXISTS', record.key) == 0 or not is_known(record) then
  return { nonce, 'gone' }
end
local ended = {}
if redis.call('HEXISTS', record.key, 'p') == 1 then
  check_group(record)
  touch(record) -- A full memory refuses what adds, if it comes first.
  local about = redis.call('HMGET', record.key, 'a', 'i')
  local now, ends, idle = now_ms(), tonumber(about[1]), tonumber(about[2])
  redis.call('HSET', record.key, 'r', now)
  for number = 0, 3 do
    local since = redis.call('HGET', record.key, 'n' .. number) or ''
    redis.call('HSET', record.key, 'n' .. number, (ARGV[6 + number] .. since):sub(-8 * NONCE))
  end
  redis.call('HDEL', record.key, 'p')
  if joins then
    ends = absolute and now + absolute or 0
    redis.call('HSET', record.key, 'j', now, 'a', ends)
    ended = join(record, now, now + full_life(idle, interval, ends, now), max_sessions)
  else
    expire(record, now + full_life(idle, interval, ends, now))
  end
elseif not is_member(record) then
  return { nonce, 'gone' }
else
  touch(record)
end
local totals = {}
for at = 10, #ARGV do
  totals[#totals + 1] = redis.call('HGET', record.key, ARGV[at]) or ''
end
return { nonce, 'ok', standing(record), ended, totals }
