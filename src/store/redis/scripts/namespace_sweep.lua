-- Removes records and groups that have ended with an earlier generation of their namespace, and records that have ended
-- with their group.
-- KEYS: generation
--       keys of the same namespace
-- ARGV: nonce
--       how long a trace lives (ms)
-- Reply: 'ok', number of records that were removed
local trace_lifetime = tonumber(ARGV[2])

-- Says whether a key is that of a session in a group that it is not a member of.
local function has_left_group(key)
  local members = key:match('^(.*:{.*}):[^:]*$')
  return members and not call_or_nil('ZSCORE', members, key:sub(-ID_LENGTH))
end

local removed, of_generation = 0, present_generation()
for at = 2, #KEYS do
  local key = KEYS[at]
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' then
    local packed, is_prepared, of_values = unpack(redis.call('HMGET', key, 's', 'p', 'o'))
    if of_values then
      if struct.unpack('>I7', of_values .. '       ') ~= of_generation then
        redis.call('UNLINK', key)
      end
    elseif packed and (#packed ~= STATE_LENGTH or unpack_state(packed).generation ~= of_generation
      or not is_prepared and has_left_group(key)) then
      remove_record(key, trace_lifetime)
      removed = removed + 1
    end
  elseif kind == 'zset' and not is_of_generation(key:gsub(':joined$', ''), of_generation) then
    redis.call('UNLINK', key)
  end
end
return { nonce, 'ok', removed }
