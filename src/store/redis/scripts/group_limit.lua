-- Continues the work of a join that could not end all sessions over the limit: ends those that joined first.
-- KEYS: generation
--       record of the session that joined
--       ended set
-- ARGV: nonce
--       limit of the group
--       how long the ended set lives (ms)
-- Reply: 'ok', list of ids that have ended, whether more sessions have to end
local record, ended_key = record_at(2), KEYS[7]
local limit, ended_set_lifetime = unpack(ARGV, 2, 3)

local ended, more = enforce_limit(record, tonumber(limit), { key = ended_key, lifetime = ended_set_lifetime })
return { nonce, 'ok', ended, more }
