-- Removes what ended with its namespace from the memory: records, and the sets of groups.
-- KEYS: generation, and keys of the same namespace. ARGV: nonce, how long a trace is kept (ms).
local of_generation, memory = generation(), ARGV[2]
for at = 2, #KEYS do
  local key = KEYS[at]
  local type = redis.call('TYPE', key).ok
  if type == 'hash' then
    local x = redis.call('HGET', key, 'x')
    if x and x ~= of_generation then
      bury(key, memory)
    end
  elseif type == 'zset' and not is_of(key:gsub(':joined$', ''), of_generation) then
    redis.call('UNLINK', key)
  end
end
return { nonce, 'ok' }
