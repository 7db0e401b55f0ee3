-- Creates a record; never overwrites one.
-- ARGV: nonce, absolute timeout (ms; '' none), idle timeout (ms), refresh interval (ms), size, then field and value by
--       turns.
if redis.call('EXISTS', key) == 1 then
  if is_known() then
    return standing('ok')
  end
  return { nonce, 'exists' }
end
local now, ends = now_ms(), 0
local absolute, idle, interval = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if absolute then
  ends = now + absolute
end
redis.call('HSET', key, 'v', 1, 'c', now, 'a', ends, 'i', idle, 's', ARGV[5], remembered(1))
in_chunks('HSET', ARGV, 6, #ARGV)
redis.call('PEXPIRE', key, full_life(idle, interval, ends, now))
return standing('ok')
