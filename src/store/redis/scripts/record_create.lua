-- Creates a record. Never overwrites one.
-- KEYS: generation
--       record; in a group with its values and its reserved places
--       ended set; only in a group
-- ARGV: nonce
--       refresh interval (ms; below 0 for never), idle timeout (ms), absolute timeout (ms; '' for none)
--       the session's own idle timeout (ms; '' for none), flags: see state.lua
--       timeout until the first load, if it is shorter than a full life (ms; '' for none)
--       number and size of the values
--       name of the group, limit of the group ('' for none), whether a session beyond it is refused (0 or 1)
--       how long the ended set lives (ms)
--       list of the values: field, JSON text
-- Reply: 'ok', info, list of ids that the limit has ended, whether others are still to end
--        'exists'
--        'too many sessions'
--        'gone': an earlier attempt of this call has created the record, and the session has ended since
local record, ended_key, lifetime = record_at(2), KEYS[7], lifetime_at(2)
local own_idle_timeout, flags, unconfirmed_timeout, number, size = unpack(ARGV, 5, 9)
local group_name, limit, refuses, ended_set_lifetime = unpack(ARGV, 10, 13)
local first_value, last_value = list_at(14, 2)
limit = tonumber(limit)

local status = new_key_status(record)
if status == 'made' then
  local state, refusal, id, version = live_state(record, lifetime)
  if not state then
    return { nonce, refusal, id, version }
  end
  write_for_wait(record)
  return { nonce, 'ok', info(state), ended_key and ended_ids(ended_key, state.joined_at) or {}, 0 }
elseif status ~= 'free' then
  return { nonce, status }
end
check_group(record)
if refuses == '1' and is_full(record, limit, record.id) then
  return { nonce, 'too many sessions' }
end

local state = {
  version = 1, flags = flags, keys = number, bytes = size,
  created_at = now, joined_at = record.members and now, refreshed_at = now,
  ends_at = lifetime.absolute_timeout and now + lifetime.absolute_timeout or 0,
  idle_timeout = tonumber(own_idle_timeout) or lifetime.idle_timeout, generation = generation_or_new(), nonce = nonce,
}
state.expires_at = full_life(state, lifetime.refresh_interval)
local unconfirmed_until = now + (tonumber(unconfirmed_timeout) or math.huge)
if unconfirmed_until < state.expires_at then
  state.expires_at, state.refreshed_at = unconfirmed_until, 0
end
local writes = { 's', pack_state(state) }
if record.members then
  writes[3], writes[4] = 'g', struct.pack('>I6', now) .. group_name
end
for at = first_value, last_value do
  writes[#writes + 1] = ARGV[at]
end
in_chunks('HSET', record.key, writes, 1, #writes)
local ended, more = {}, 0
if record.members then
  local ends_beyond = refuses ~= '1' and limit or nil
  ended, more = join(record, state, ends_beyond, { key = ended_key, lifetime = tonumber(ended_set_lifetime) })
else
  expire(record, state)
end
return { nonce, 'ok', info(state), ended, more }
