-- Reads the values of a group, and what is stored beside them.
-- KEYS: generation
--       values
-- ARGV: nonce
-- Reply: 'ok', generation, when the values expire (ms), fields and values by turns
local values = KEYS[2]

local left = redis.call('PTTL', values)
return { nonce, 'ok', present_generation() or 0, now + math.max(left, 0), call_or_nil('HGETALL', values) or {} }
