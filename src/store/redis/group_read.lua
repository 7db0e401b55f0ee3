-- Reads about some sessions of a group. KEYS: the group's two, and a record's for each session.
-- ARGV: nonce, the fields asked for.
local sessions, ids, now = {}, {}, now_ms()
for at = 3, #KEYS do
  ids[#ids + 1] = KEYS[at]:sub(-ID)
end
local expiries = redis.call('ZMSCORE', KEYS[1], unpack(ids))
for at = 3, #KEYS do
  local id, expires = ids[at - 2], expiries[at - 2]
  local about = expires and redis.pcall('HMGET', KEYS[at], 'v', 'c', 'j', 'r', 'a', 'i')
  if about and about[1] then
    about[7], about[8] = now, expires - now
    local values = {}
    for from = 2, #ARGV, CHUNK do
      for _, value in ipairs(redis.call('HMGET', KEYS[at], unpack(ARGV, from, math.min(from + CHUNK - 1, #ARGV)))) do
        values[#values + 1] = value
      end
    end
    sessions[#sessions + 1] = { id, about, values }
  elseif about and redis.call('EXISTS', KEYS[at]) == 0 then
    leave({ id = id, members = KEYS[1], joined = KEYS[2] }) -- Redis has evicted it.
  end
end
return { nonce, 'ok', sessions }
