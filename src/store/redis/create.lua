-- Creates a record; never overwrites one.
-- ARGV: nonce, absolute timeout (ms; '' none), idle timeout (ms), refresh interval (ms), size, the group's name, how many
--       sessions the group may have ('' any number); then field and value by turns.
local made = made_before(record)
if made == 'made' then
  touch(record)
  return { nonce, 'ok', standing(record), {} }
elseif made then
  return { nonce, made }
end
check_group(record)
local now, ends = now_ms(), 0
local absolute, idle, interval = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if absolute then
  ends = now + absolute
end
redis.call('HSET', record.key, 'v', 1, 'c', now, 'r', now, 'a', ends, 'i', idle, 's', ARGV[5], remembered(record, 1))
in_chunks('HSET', record.key, ARGV, 8, #ARGV)
local expires, ended = now + full_life(idle, interval, ends, now), {}
if record.members then
  redis.call('HSET', record.key, 'g', ARGV[6], 'j', now)
  ended = join(record, now, expires, tonumber(ARGV[7]))
else
  expire(record, expires)
end
return { nonce, 'ok', standing(record), ended }
