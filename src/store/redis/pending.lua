-- Prepares a record that is to come from another slot. Nobody knows its id, it is in no group, and it expires soon, unless
-- activate.lua is called.
-- ARGV: nonce, version, created (ms), ends at the latest (ms, 0 never), idle timeout (ms), size, its life until then (ms),
--       whether it joins a group (0 or 1), the group's name; then field and value by turns.
check_group(record)
if redis.call('EXISTS', record.key) == 1 then
  local about = redis.call('HMGET', record.key, 'p', 'v', 't')
  if about[3] then
    return { nonce, 'gone' } -- This call was made before, and the session has been ended since.
  elseif not is_known(record) then
    return { nonce, 'exists' }
  elseif about[1] ~= about[2] then
    return { nonce, 'done' } -- This call was made before, and has gone on from there.
  end
  redis.call('UNLINK', record.key)
end
local version = tonumber(ARGV[2])
-- With a grace, requests may reach it by the old id before it is brought to life. They may as well.
redis.call('HSET', record.key, 'p', version, 'v', version, 'c', ARGV[3], 'r', now_ms(), 'a', ARGV[4], 'i', ARGV[5],
  's', ARGV[6], remembered(record, version))
redis.call('PEXPIRE', record.key, ARGV[7])
if ARGV[8] == '1' then
  redis.call('HSET', record.key, 'g', ARGV[9])
end
in_chunks('HSET', record.key, ARGV, 10, #ARGV)
return { nonce, 'ok' }
