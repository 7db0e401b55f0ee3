-- Changes the values of a group, unless this same call has changed them before.
-- KEYS: generation
--       members, values
-- ARGV: nonce
--       limits for the number and the size of the values
--       how long the values are kept at least (ms)
--       list of the values to set: field, JSON text
--       list of the fields to remove
-- Reply: 'ok'
--        'too large', size
--        'too many keys', number
local members, values = KEYS[2], KEYS[3]
local most_keys, most_bytes, lifetime = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local first_set, last_set = list_at(5, 2)
local first_remove, last_remove = list_at(last_set + 1, 1)

local began = struct.pack('>I7', generation_or_new())
local of_generation, n0, n1, n2, n3 = unpack(call_or_nil('HMGET', values, 'o', 'n0', 'n1', 'n2', 'n3') or {})
local nonces = (n0 or '') .. (n1 or '') .. (n2 or '') .. (n3 or '')
if of_generation ~= began then -- The values are those of an ended namespace, or there are none.
  if redis.call('EXISTS', values) == 1 then
    redis.call('UNLINK', values)
  end
  nonces = ''
end
for at = 1, #nonces, NONCE_LENGTH do
  if nonces:sub(at, at + NONCE_LENGTH - 1) == nonce then
    redis.call('PEXPIRE', values, math.max(redis.call('PTTL', values), 1)) -- See `write_for_wait` in change.lua.
    return { nonce, 'ok' }
  end
end

local sizes, fields = {}, redis.call('HGETALL', values)
for at = 1, #fields, 2 do
  sizes[fields[at]] = fields[at]:sub(1, 1) == ':' and #fields[at] - 1 + #fields[at + 1] or nil
end
local function total()
  local keys, bytes = 0, 0
  for _, size in pairs(sizes) do
    keys, bytes = keys + 1, bytes + size
  end
  return keys, bytes
end
local old_keys, old_bytes = total()
for at = first_set, last_set, 2 do
  sizes[ARGV[at]] = #ARGV[at] - 1 + #ARGV[at + 1]
end
for at = first_remove, last_remove do
  sizes[ARGV[at]] = nil
end
local keys, bytes = total()
if bytes > math.max(most_bytes, old_bytes) then
  return { nonce, 'too large', bytes }
elseif keys > math.max(most_keys, old_keys) then
  return { nonce, 'too many keys', keys }
end

-- THE FIRST WRITE adds, so a full memory refuses the change.
nonces = nonce .. nonces
write_nonces(values, began, nonces)
in_chunks('HSET', values, ARGV, first_set, last_set)
in_chunks('HDEL', values, ARGV, first_remove, last_remove)
expire_values(values, members, now + lifetime)
return { nonce, 'ok' }
