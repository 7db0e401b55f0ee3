-- Creates a record; never overwrites one.
-- ARGV: nonce, created (ms, 0 now), end ('never', 'after' or 'at'), its time (ms), idle timeout, refresh interval,
--       size, then field and value by turns.
if redis.call('EXISTS', key) == 1 then
  if is_known(redis.call('HGET', key, 'n') or '') then
    return standing('ok')
  end
  return { nonce, 'exists' }
end
local now = now_ms()
local created, end_kind, end_time = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local idle, interval = tonumber(ARGV[5]), tonumber(ARGV[6])
if created == 0 then
  created = now
end
local ends = 0
if end_kind == 'after' then
  ends = now + end_time
elseif end_kind == 'at' then
  ends = end_time
end
redis.call('HSET', key, 'v', 1, 'c', created, 'a', ends, 'i', idle, 's', ARGV[7], 'n', nonce)
in_chunks('HSET', ARGV, 8, #ARGV)
redis.call('PEXPIRE', key, full_life(idle, interval, ends, now))
return standing('ok')
