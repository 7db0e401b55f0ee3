-- Keeps a record as another store has it. Never overwrites a record with changes of its own, and never brings back a
-- session that has ended.
-- KEYS: generation
--       record
-- ARGV: nonce
--       version, flags, number and size of the values
--       created at, last refreshed at (0 for never), expires at, ends at the latest (0 for never), idle timeout (ms)
--       nonces of the last calls that changed it, joined, newest first
--       those that belong into the fields n0 to n3
--       nonce of the last change when the other store got the session from a store ('' if it was created there)
--       when it joined its group (ms), the group's name, its place in the order of joining
--       when its absolute timeout began (ms)
--       list of the values: field, JSON text
-- Reply: 'ok', 'created', 'updated', 'kept' or 'ended'
local record = record_at(2)
local version, flags, number, size, created_at, refreshed_at, expires_at, ends_at, idle_timeout = unpack(ARGV, 2, 10)
local nonces, n0, n1, n2, n3, given_copied = unpack(ARGV, 11, 16)
local joined_at, group_name, order, began_at = unpack(ARGV, 17, 20)
local first_value, last_value = list_at(21, 2)

local state = {
  version = tonumber(version), flags = flags, keys = number, bytes = size, created_at = tonumber(created_at),
  refreshed_at = tonumber(refreshed_at), expires_at = tonumber(expires_at), ends_at = tonumber(ends_at),
  idle_timeout = idle_timeout, joined_at = record.members and tonumber(joined_at), began_at = tonumber(began_at),
  nonce = nonces:sub(1, NONCE_LENGTH),
}

-- Says whether a record that is there has the life of the given one.
local function has_same_life(found, found_began_at)
  state.generation = found.generation
  return found.packed:sub(14, 43) == pack_state(state):sub(14, 43)
    and (tonumber(found_began_at) or state.joined_at or state.created_at) == state.began_at
end

if state.expires_at <= now or state.ends_at > 0 and state.ends_at <= now then
  return { nonce, 'ok', 'ended' }
end
check_group(record)
local s, t, f, p, b, e, copied = unpack(call_or_nil('HMGET', record.key, 's', 't', 'f', 'p', 'b', 'e', 'c') or {})
if not s and (t or f) then
  return { nonce, 'ok', 'ended' }
elseif p or s and #s ~= STATE_LENGTH or not s and redis.call('EXISTS', record.key) == 1 then
  return { nonce, 'ok', 'kept' }
end
local found = s and unpack_state(s)
if found then
  if not is_current(record, found.generation) then
    return { nonce, 'ok', 'ended' }
  elseif found.version > state.version or not has_all_changes(found.nonce, copied, nonces, given_copied)
    or found.version == state.version and found.refreshed_at > state.refreshed_at then
    return { nonce, 'ok', 'kept' }
  elseif found.version == state.version and has_same_life(found, b) then
    write_for_wait(record)
    return { nonce, 'ok', 'kept' }
  end
end

if found and found.refreshed_at > state.refreshed_at then -- The session that is there was used later.
  state.refreshed_at, state.expires_at = found.refreshed_at, found.expires_at
  if state.ends_at > 0 then
    state.expires_at = math.min(state.expires_at, state.ends_at)
  end
end
state.generation = generation_or_new()
local packed = pack_state(state)
redis.call('HSET', record.key, 's', packed) -- THE FIRST WRITE adds, so a full memory refuses the call.
redis.call('UNLINK', record.key)
local writes = { 's', packed, 'c', state.nonce }
for at, field in ipairs({ n0, n1, n2, n3 }) do
  if field ~= '' then
    writes[#writes + 1], writes[#writes + 2] = 'n' .. at - 1, field
  end
end
if record.members then
  writes[#writes + 1], writes[#writes + 2] = 'g', struct.pack('>I6', state.joined_at) .. group_name
end
if e then
  writes[#writes + 1], writes[#writes + 2] = 'e', e
end
for at = first_value, last_value do
  writes[#writes + 1] = ARGV[at]
end
in_chunks('HSET', record.key, writes, 1, #writes)
write_began(record, state)
if record.members then
  if not is_of_generation(record.members, state.generation) then
    redis.call('UNLINK', record.members, record.joined)
    redis.call('ZADD', record.members, -state.generation, GENERATION)
  end
  redis.call('ZADD', record.joined, order, record.id)
end
expire(record, state)
return { nonce, 'ok', found and 'updated' or 'created' }
