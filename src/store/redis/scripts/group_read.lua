-- Reads sessions of a group, until the reply is large enough.
-- KEYS: generation
--       members, order of joining
--       own key of each record
-- ARGV: nonce
--       after how many bytes of values to stop
--       list of fields to read
-- Reply: 'ok', now, list of sessions (id, packed state, when it joined, packed as 6 bytes, expires at, list of values),
--        how many of the records were looked at
local _, members, joined = unpack(KEYS, 1, 3)
local bytes_left = tonumber(ARGV[2])
local first_field, last_field = list_at(3, 1)

local sessions, looked_at, of_generation = {}, 0, present_generation()
for at = 4, #KEYS do
  local key = KEYS[at]
  local id = key:sub(-ID_LENGTH)
  local expires_at = redis.call('ZSCORE', members, id)
  local own_fields = expires_at and call_or_nil('HMGET', key, 's', 'g', 'p')
  local packed, group, prepared = unpack(own_fields or {})
  if packed and #packed == STATE_LENGTH and unpack_state(packed).generation == of_generation
    and read_integer(expires_at) and not prepared then
    local values = {}
    for from = first_field, last_field, CHUNK do
      for _, value in ipairs(redis.call('HMGET', key, unpack(ARGV, from, math.min(from + CHUNK - 1, last_field)))) do
        values[#values + 1] = value
        bytes_left = bytes_left - (value and #value or 0)
      end
    end
    sessions[#sessions + 1] = { id, packed, group and group:sub(1, 6) or '', expires_at, values }
  elseif own_fields and redis.call('EXISTS', key) == 0 then
    leave_group({ id = id, members = members, joined = joined }) -- Redis has evicted the record.
  end
  looked_at = looked_at + 1
  if bytes_left < 0 then
    break
  end
end
return { nonce, 'ok', now, sessions, looked_at }
