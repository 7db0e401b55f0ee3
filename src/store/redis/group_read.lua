-- Reads about some sessions of a group. KEYS: the group's two, and a record's for each session.
-- ARGV: nonce, the fields asked for.
local sessions = {}
for at = 3, #KEYS do
  local session = { key = KEYS[at], id = KEYS[at]:sub(-ID), members = KEYS[1], joined = KEYS[2] }
  if redis.call('EXISTS', session.key) == 0 then
    leave(session) -- Redis has evicted it.
  elseif is_member(session) and type(redis.pcall('HGET', session.key, 'v')) == 'string' then
    local values = #ARGV > 1 and redis.call('HMGET', session.key, unpack(ARGV, 2)) or {}
    sessions[#sessions + 1] = { session.id, standing(session), values }
  end
end
return { nonce, 'ok', sessions }
