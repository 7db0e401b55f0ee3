-- Prepares a record that is to come from another slot. Nobody knows its id, it is in no group, and it expires soon,
-- unless activate.lua is called.
-- KEYS: generation, the record's.
-- ARGV: nonce, version, created (ms), ends at the latest (ms, 0 never), idle timeout (ms), whether that is chosen now
--       for this session (0 or 1), number and size of the values, its life until then (ms), whether it joins a group (0
--       or 1), the group's name; then field and value by turns.
local version, created, ends, idle, own_idle = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6] == '1'
local number, size, memory, joins, group_name = ARGV[7], ARGV[8], ARGV[9], ARGV[10] == '1', ARGV[11]
local first_value = 12

check_group(record)
if redis.call('EXISTS', record.key) == 1 then
  local about = redis.call('HMGET', record.key, 'v', 'p', 't', 'f')
  if not about[1] and (about[3] or about[4]) then
    return { nonce, 'gone' } -- This call was made before, and the session has been ended or has gone on since.
  elseif not is_known(record) then
    return { nonce, 'exists' }
  elseif about[2] ~= about[1] then
    return { nonce, 'done' } -- This call was made before, and has gone on from there.
  end
  redis.call('UNLINK', record.key)
end
local cleared = whole(try('HGET', KEYS[1], 'cleared'))
if cleared and tonumber(created) <= cleared then
  return { nonce, 'gone' } -- All sessions that there were then have ended. This one's slot is still to be cleared.
end
-- With a grace, requests may reach it by the old id before it is brought to life. They may as well.
redis.call('HSET', record.key, 'p', version, 'v', version, 'c', created, 'r', now_ms(), 'a', ends, 'i', idle,
  'k', number, 's', size, 'x', generation_or_new(), remembered(record, version))
redis.call('PEXPIRE', record.key, memory)
if own_idle then
  redis.call('HSET', record.key, 'o', 1)
end
if joins then
  redis.call('HSET', record.key, 'g', group_name)
end
in_chunks('HSET', record.key, ARGV, first_value, #ARGV)
return { nonce, 'ok' }
