-- Counts the sessions of a group.
-- KEYS: generation
--       members, order of joining
-- ARGV: nonce
-- Reply: 'ok', number
local members = KEYS[2]

if not is_of_generation(members, present_generation()) then
  return { nonce, 'ok', 0 }
end
return { nonce, 'ok', redis.call('ZCOUNT', members, now, '+inf') }
