-- Reads sessions of a group, until the reply is large enough.
-- KEYS: generation
--       members, order of joining
--       own key of each record
-- ARGV: nonce
--       after how many bytes of values to stop
--       list of fields to read
-- Reply: 'ok', list of sessions (id, info, list of values), how many of the records were looked at
local members, joined = next_key(), next_key()
local bytes_left = next_number()
local first_field, last_field = next_list()

local sessions, looked_at, now, of_generation = {}, 0, now_ms(), generation()
for key in next_key do
  local id = key:sub(-ID_LENGTH)
  local expires_at = redis.call('ZSCORE', members, id)
  local about = expires_at and call_or_nil('HMGET', key, 'v', 'c', 'j', 'r', 'a', 'i', 'x')
  local v, c, j, r, a, i, x = unpack(about or {})
  if v and x == of_generation and read_integer(expires_at) then
    local values = {}
    for from = first_field, last_field, CHUNK do
      for _, value in ipairs(redis.call('HMGET', key, unpack(ARGV, from, math.min(from + CHUNK - 1, last_field)))) do
        values[#values + 1] = value
        bytes_left = bytes_left - (value and #value or 0)
      end
    end
    local refreshed_at = r == '0' and c or r
    sessions[#sessions + 1] = { id, { v, c, j, refreshed_at, a, i, now, math.max(expires_at - now, 0) }, values }
  elseif about and redis.call('EXISTS', key) == 0 then
    leave_group({ id = id, members = members, joined = joined }) -- Redis has evicted the record.
  end
  looked_at = looked_at + 1
  if bytes_left < 0 then
    break
  end
end
return { nonce, 'ok', sessions, looked_at }
