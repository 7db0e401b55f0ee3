-- Counts the sessions of a group.
-- KEYS: generation
--       members, order of joining
-- ARGV: nonce
-- Reply: 'ok', number
local members = next_key()

if not is_of_generation(members, generation()) then
  return { nonce, 'ok', 0 }
end
return { nonce, 'ok', redis.call('ZCOUNT', members, now_ms(), '+inf') }
