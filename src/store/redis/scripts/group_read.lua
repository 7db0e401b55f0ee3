-- Reads about some sessions of a group, as many of them as fit into an answer. Says how many it has looked at.
-- KEYS: generation, the group's two, and a record's for each session.
-- ARGV: nonce, after how many bytes to stop, the fields asked for.
local first_record, first_field, room = 4, 3, tonumber(ARGV[2])
local members, sessions, now, of_generation = KEYS[2], {}, now_ms(), generation()
local seen = 0
for at = first_record, #KEYS do
  local key, id = KEYS[at], KEYS[at]:sub(-ID)
  local expires = redis.call('ZSCORE', members, id)
  local about = expires and try('HMGET', key, 'v', 'c', 'j', 'r', 'a', 'i', 'x')
  if about and about[1] and about[7] == of_generation and whole(expires) then
    about[4] = about[4] == '0' and about[2] or about[4]
    about[7], about[8] = now, math.max(expires - now, 0)
    local values = {}
    for from = first_field, #ARGV, CHUNK do
      for _, value in ipairs(redis.call('HMGET', key, unpack(ARGV, from, math.min(from + CHUNK - 1, #ARGV)))) do
        values[#values + 1] = value
        room = room - (value and #value or 0)
      end
    end
    sessions[#sessions + 1] = { id, about, values }
  elseif about and redis.call('EXISTS', key) == 0 then
    leave({ id = id, members = members, joined = KEYS[3] }) -- Redis has evicted it.
  end
  seen = seen + 1
  if room < 0 then
    break
  end
end
return { nonce, 'ok', sessions, seen }
