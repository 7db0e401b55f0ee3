-- Removes records and groups that have ended with an earlier generation of their namespace.
-- KEYS: generation
--       keys of the same namespace
-- ARGV: nonce
--       how long a trace lives (ms)
-- Reply: 'ok'
local trace_lifetime = next_number()

local of_generation = generation()
for key in next_key do
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' then
    local x = redis.call('HGET', key, 'x')
    if x and x ~= of_generation then
      remove_record(key, trace_lifetime)
    end
  elseif kind == 'zset' and not is_of_generation(key:gsub(':joined$', ''), of_generation) then
    redis.call('UNLINK', key)
  end
end
return { nonce, 'ok' }
