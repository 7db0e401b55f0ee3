-- Goes on ending the sessions that joined first, where a login could not end all that are too many.
-- KEYS: generation, the record's of the session that stays, the one for what is left to be swept.
-- ARGV: nonce, how many sessions the group may have, how long what is left to be swept is kept (ms).
local ended, more = enforce(record, tonumber(ARGV[2]), { key = KEYS[5], memory = ARGV[3] })
return { nonce, 'ok', ended, more }
