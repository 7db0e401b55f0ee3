-- Applies a change set to a record, and moves the record to a new key in the same step: the session gets a new id.
-- KEYS: generation
--       record (five keys, even without a group)
--       new record
--       ended set; only for a move into a group
-- ARGV: nonce
--       refresh interval (ms; below 0 for never), idle timeout (ms), absolute timeout (ms; '' for none)
--       version in which the earliest id that leads to this record was replaced ('' if there is none)
--       expected version ('' for any)
--       last change that the caller has read: see record_update.lua
--       field that has to hold a value ('' for none), and the value
--       limits for the number and the size of the values
--       new idle timeout (ms; '' if it stays), flags that stay, new flags: see state.lua
--       grace of the old id (ms; '' for none)
--       trail: how long the old id still ends the session (ms)
--       whether the session joins a group (0 or 1), the group's name, limit of the group ('' for none), whether a
--       session beyond it is refused (0 or 1)
--       how long the ended set and a trace live (ms)
--       change set: see values.lua
-- Reply: 'ok', info, list of the totals, list of ids that the limit has ended, whether others are still to end
--        'conflict', 'exists', 'gone', 'too many sessions'
--        'not an integer', field
--        'too large', size
--        'too many keys', number
--        'broken off': an earlier attempt of this call wrote its changes, but did not move the record
local record, new, ended_key = record_at(2), record_at(7), KEYS[12]
local lifetime, changes = lifetime_at(2), changes_at(23)
local replaced_in, expected, last_change, held_field, held, most_keys, most_bytes = unpack(ARGV, 5, 11)
local new_idle_timeout, kept_flags, new_flags, grace, trail = unpack(ARGV, 12, 16)
local joins, group_name, limit, refuses, ended_set_lifetime, trace_lifetime = unpack(ARGV, 17, 22)
limit = tonumber(limit)

local new_status = new_key_status(new)
if new_status == 'made' then
  local state, refusal = live_state(new, lifetime, tonumber(replaced_in))
  if not state then
    return { nonce, refusal == 'forward' and 'gone' or refusal }
  end
  write_for_wait(new)
  local ended = ended_key and ended_ids(ended_key, state.joined_at) or {}
  return { nonce, 'ok', info(state), present_totals(new, changes), ended, 0 }
elseif new_status ~= 'free' then
  return { nonce, new_status }
end
local state, refusal = live_state(record, lifetime, tonumber(replaced_in))
if not state then
  return { nonce, refusal == 'forward' and 'gone' or refusal } -- An id that was replaced cannot be replaced again.
elseif knows_call(state.nonce, record.nonces) then
  return { nonce, 'broken off' }
elseif expected ~= '' and not is_last_change(state, tonumber(expected), last_change)
  or held_field ~= '' and redis.call('HGET', record.key, held_field) ~= held then
  return { nonce, 'conflict' }
end
check_group(record)
check_group(new)
if joins == '1' and refuses == '1' and is_full(new, limit, record.id) then
  return { nonce, 'too many sessions' }
end

-- All checks come before the first write, because Redis does not roll a script back.
local writes, totals = check_changes(record, state, changes, tonumber(most_keys), tonumber(most_bytes))
if not writes then
  return totals
end
local is_same_group = record.members == new.members
state.idle_timeout = tonumber(new_idle_timeout) or state.idle_timeout
state.flags = bit.bor(bit.band(state.flags, kept_flags), new_flags)
if joins == '1' then
  state.joined_at, state.began_at = now, now
  state.ends_at = lifetime.absolute_timeout and now + lifetime.absolute_timeout or 0
  writes[#writes + 1], writes[#writes + 2] = 'g', struct.pack('>I6', now) .. group_name
elseif not new.members then
  state.joined_at = nil
end
begin_life(state, lifetime, joins == '1')
write_changes(record, changes, writes, pack_state(state))
write_began(record, state)
if record.members and not new.members then
  redis.call('HDEL', record.key, 'g')
end

local order = is_same_group and record.joined and redis.call('ZSCORE', record.joined, record.id)
if is_same_group and record.members then
  remove_members(record, { record.id })
else
  leave_group(record)
end
redis.call('RENAME', record.key, new.key)
if is_same_group then
  grace = tonumber(grace) or 0
  redis.call('HSET', record.key, 'f', new.id, 'u', now + grace, 'm', state.version)
  redis.call('PEXPIRE', record.key, math.max(grace, trail))
else
  redis.call('HDEL', new.key, 'e')
  redis.call('HSET', record.key, 't', nonce, 'r', 'n')
  redis.call('PEXPIRE', record.key, trace_lifetime)
end

local ended, more = {}, 0
if joins == '1' then
  local ends_beyond = refuses ~= '1' and limit or nil
  ended, more = join(new, state, ends_beyond, { key = ended_key, lifetime = ended_set_lifetime })
else
  if order then
    redis.call('ZADD', new.joined, order, new.id)
  end
  expire(new, state)
end
return { nonce, 'ok', info(state), totals, ended, more }
