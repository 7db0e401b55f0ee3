-- Creates a record. Never overwrites one.
-- KEYS: generation
--       record (its own key; in a group the group's two as well)
--       ended set; only in a group
-- ARGV: nonce
--       refresh interval (ms; below 0 for never), idle timeout (ms), absolute timeout (ms; '' for none)
--       the session's own idle timeout (ms; '' for none)
--       timeout until the first load, if that is shorter (ms; '' for none)
--       number and size of the values
--       name of the group
--       limit of the group ('' for none)
--       how long the ended set lives (ms)
--       list of the values: field, JSON text
-- Reply: 'ok', info, list of ids that the limit has ended, whether others are still to end
--        'exists'
--        'gone': an earlier attempt of this call has created the record, and the session has ended since
local record, ended_key = next_record(), next_key()
local lifetime, own_idle_timeout, unconfirmed_timeout = next_lifetime(), next_number(), next_number()
local number, size = next_number(), next_number()
local group_name, limit, ended_set_lifetime = next_text(), next_number(), next_number()
local first_value, last_value = next_list(2)

local status = new_key_status(record)
if status == 'made' then
  local state, refusal, id, version = live_state(record, lifetime)
  if not state then
    return { nonce, refusal, id, version }
  end
  write_for_wait(record)
  return { nonce, 'ok', info(state), {}, 0 }
elseif status ~= 'free' then
  return { nonce, status }
end
check_group(record)

local of_generation, now = generation_or_new(), now_ms()
local state = {
  version = 1, created_at = now, joined_at = record.members and now or false, refreshed_at = now, now = now,
  ends_at = lifetime.absolute_timeout and now + lifetime.absolute_timeout or 0,
  idle_timeout = own_idle_timeout or lifetime.idle_timeout,
}
state.expires_at = full_life(state, lifetime.refresh_interval)
if unconfirmed_timeout and now + unconfirmed_timeout < state.expires_at then
  state.expires_at, state.refreshed_at = now + unconfirmed_timeout, 0
end
redis.call('HSET', record.key, 'v', 1, 'c', now, 'r', state.refreshed_at, 'a', state.ends_at, 'i', state.idle_timeout,
  'k', number, 's', size, 'x', of_generation, nonce_field(record, 1))
if own_idle_timeout then
  redis.call('HSET', record.key, 'o', 1)
end
in_chunks('HSET', record.key, ARGV, first_value, last_value)
local ended, more = {}, 0
if record.members then
  redis.call('HSET', record.key, 'g', group_name, 'j', now)
  ended, more = join(record, state.expires_at, of_generation, limit, { key = ended_key, lifetime = ended_set_lifetime })
else
  expire(record, state.expires_at)
end
return { nonce, 'ok', info(state), ended, more }
