-- Removes records and groups that have ended with an earlier generation of their namespace.
-- KEYS: generation
--       keys of the same namespace
-- ARGV: nonce
--       how long a trace lives (ms)
-- Reply: 'ok'
local trace_lifetime = tonumber(ARGV[2])

local of_generation = present_generation()
for at = 2, #KEYS do
  local key = KEYS[at]
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' then
    local packed, of_values = unpack(redis.call('HMGET', key, 's', 'o'))
    if of_values then
      if struct.unpack('>I7', of_values .. '       ') ~= of_generation then
        redis.call('UNLINK', key)
      end
    elseif packed and not (#packed == STATE_LENGTH and unpack_state(packed).generation == of_generation) then
      remove_record(key, trace_lifetime)
    end
  elseif kind == 'zset' and not is_of_generation(key:gsub(':joined$', ''), of_generation) then
    redis.call('UNLINK', key)
  end
end
return { nonce, 'ok' }
