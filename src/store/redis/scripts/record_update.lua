-- Applies a change set to a record as it is now, wholly or not at all. record_move.lua does the same for a session that
-- gets a new id.
-- KEYS: generation
--       record
-- ARGV: nonce
--       last change that the caller has read: its version, packed as 5 bytes, and its nonce ('' if it has read none)
--       next version, packed ('' to skip quick_update.lua)
--       field for the nonce of the last change, with a '+' if the field begins anew
--       how many keys and bytes the change set adds to that version
--       what is not needed if the update is quick, packed: see SLOW_ARGUMENTS
--       field that has to hold a value ('' for none), and the value
--       change set: see values.lua
-- Reply: 'quick': the change set was applied to the version that the caller has read
--        'ok', info, list of the totals
--        'conflict', 'gone'
--        'not an integer', field
--        'too large', size
--        'too many keys', number
--        'forward', id, version in which the id was replaced, 0 (in this place, record_delete.lua says whether the
--        session was alive), whether the record knows the call

-- refresh interval (ms; NEVER for never), idle timeout (ms), absolute timeout (ms; 0 for none),
-- version in which the earliest id that leads to this record was replaced (0 if there is none),
-- whether a record of an old id knows the call (0 or 1), expected version (0 for any),
-- limits for the number and the size of the values, new idle timeout (ms; 0 if it stays),
-- flags that stay, new flags: see state.lua
local SLOW_ARGUMENTS, NEVER = '>I6I6I6I5BI5I4I5I6BB', 2 ^ 48 - 1
local refresh_interval, idle_timeout, absolute_timeout, replaced_in, is_repeated, expected, most_keys, most_bytes,
  new_idle_timeout, kept_flags, new_flags = struct.unpack(SLOW_ARGUMENTS, ARGV[7])
local lifetime = {
  refresh_interval = refresh_interval < NEVER and refresh_interval or -1, idle_timeout = idle_timeout,
  absolute_timeout = absolute_timeout > 0 and absolute_timeout or nil,
}
local held_field, held = unpack(ARGV, 8, 9)
local record, changes = record_at(2), changes_at(10)

local state, refusal, id, version = live_state(record, lifetime, replaced_in > 0 and replaced_in or nil)
if not state then
  -- After a handover, only the record of the old id may know the call. So the reply says whether it does.
  return { nonce, refusal, id, version, 0, refusal == 'forward' and knows_call(nil, record.nonces) and 1 or 0 }
elseif is_repeated == 1 or knows_call(state.nonce, record.nonces) then
  write_for_wait(record)
  return { nonce, 'ok', info(state), present_totals(record, changes) }
elseif expected > 0 and not is_last_change(state, expected, ARGV[2])
  or held_field ~= '' and redis.call('HGET', record.key, held_field) ~= held then
  return { nonce, 'conflict' }
end

-- All checks come before the first write, because Redis does not roll a script back.
local writes, totals = check_changes(record, state, changes, most_keys, most_bytes)
if not writes then
  return totals
end
state.flags = bit.bor(bit.band(state.flags, kept_flags), new_flags)
if new_idle_timeout == 0 then
  write_changes(record, changes, writes, repack_state(state))
else
  state.idle_timeout = new_idle_timeout
  if state.is_prepared then -- It gets its life when it is activated.
    write_changes(record, changes, writes, pack_state(state))
  else
    begin_life(state, lifetime)
    write_changes(record, changes, writes, pack_state(state))
    write_began(record, state)
    expire(record, state)
  end
end
return { nonce, 'ok', info(state), totals }
