-- Applies a change set to a record, and moves the record to a new key in the same step: the session gets a new id.
-- KEYS: generation
--       record (three keys, even without a group)
--       new record
--       ended set; only for a move into a group
-- ARGV: nonce
--       refresh interval (ms; below 0 for never), idle timeout (ms), absolute timeout (ms; '' for none)
--       version in which the earliest id that leads to this record was replaced ('' if there is none)
--       expected version ('' for any)
--       field that has to hold a value ('' for none), and the value
--       limits for the number and the size of the values
--       new idle timeout of the session's own (ms; '' for none)
--       grace of the old id (ms; '' for none)
--       trail: how long the old id still ends the session (ms)
--       whether the session joins a group (0 or 1), the group's name, limit of the group ('' for none)
--       how long the ended set lives (ms)
--       change set: see values.lua
-- Reply: 'ok', info, list of the totals, list of ids that the limit has ended, whether others are still to end
--        'conflict', 'exists', 'gone'
--        'not an integer', field
--        'too large', size
--        'too many keys', number
--        'broken off': an earlier attempt of this call wrote its changes, but did not move the record
local record, new, ended_key = record_at(2), record_at(5), KEYS[8]
local lifetime, changes = lifetime_at(2), changes_at(18)
local replaced_in, expected, held_field, held, most_keys, most_bytes, new_idle_timeout = unpack(ARGV, 5, 11)
local grace, trail, joins, group_name, limit, ended_set_lifetime = unpack(ARGV, 12, 17)

local new_status = new_key_status(new)
if new_status == 'made' then
  local state, refusal = live_state(new, lifetime, tonumber(replaced_in))
  if not state then
    return { nonce, refusal == 'forward' and 'gone' or refusal }
  end
  write_for_wait(new)
  return { nonce, 'ok', info(state), present_totals(new, changes), {}, 0 }
elseif new_status ~= 'free' then
  return { nonce, new_status }
end
local state, refusal = live_state(record, lifetime, tonumber(replaced_in))
if not state then
  return { nonce, refusal == 'forward' and 'gone' or refusal } -- An id that was replaced cannot be replaced again.
elseif knows_call(state.nonce, record.nonces) then
  return { nonce, 'broken off' }
elseif expected ~= '' and tonumber(expected) ~= state.version
  or held_field ~= '' and redis.call('HGET', record.key, held_field) ~= held then
  return { nonce, 'conflict' }
end
check_group(record)
check_group(new)

-- All checks come before the first write, because Redis does not roll a script back.
local writes, totals = check_changes(record, state, changes, tonumber(most_keys), tonumber(most_bytes))
if not writes then
  return totals
end
local is_same_group = record.members == new.members
if new_idle_timeout ~= '' then
  state.idle_timeout, state.flags = tonumber(new_idle_timeout), OWN_IDLE_TIMEOUT
elseif record.members and not is_same_group then
  state.idle_timeout, state.flags = lifetime.idle_timeout, 0
end
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
end

local ended, more = {}, 0
if joins == '1' then
  ended, more = join(new, state, tonumber(limit), { key = ended_key, lifetime = ended_set_lifetime })
else
  if order then
    redis.call('ZADD', new.joined, order, new.id)
  end
  expire(new, state)
end
return { nonce, 'ok', info(state), totals, ended, more }
