-- Loads a record, and refreshes it if that is due. Called if plain commands are not enough: see plain_load.rs.
-- KEYS: generation
--       record; in a group with the key of its values, if the script has to read them or to keep them
-- ARGV: nonce
--       refresh interval (ms; below 0 for never), idle timeout (ms), absolute timeout (ms; '' for none)
--       version in which the earliest id that leads to this record was replaced ('' if there is none)
--       whether the life stays as it is (0 or 1)
-- Reply: 'ok' or 'refreshed', info, fields and values by turns, those of the group's values if it was given their key
--        'not refreshed', error of Redis, and then the same
--        'gone', reason
--        'forward', id, version in which the id was replaced
local record, lifetime, replaced_in, peeks = record_at(2), lifetime_at(2), tonumber(ARGV[5]), ARGV[6]

-- Returns the reason why the session has ended.
local function reason()
  local s, r, f = unpack(redis.call('HMGET', record.key, 's', 'r', 'f'))
  if not s then
    return r or f and 'n' or 'x'
  end
  local state = unpack_state(s)
  if state.expires_at <= now then
    return 'x'
  end
  return not is_current(record, state.generation) and 'e' or replaced_in and 'n' or 'x'
end

local state, refusal, id, version = live_state(record, lifetime, replaced_in)
if refusal == 'gone' then
  return { nonce, refusal, reason() }
elseif not state then
  return { nonce, refusal, id, version }
elseif state.is_prepared and not replaced_in then
  return { nonce, 'gone', 'x' } -- No client knows this id yet. Only an old id in its grace leads here.
end
local fields = redis.call('HGETALL', record.key)
local group_values = record.values and call_or_nil('HGETALL', record.values) or {}

local expires_at, refreshed_at = state.expires_at, state.refreshed_at
local full = full_life(state, lifetime.refresh_interval)
local is_used_up = lifetime.refresh_interval >= 0 and expires_at < now + state.idle_timeout and full > expires_at
-- The life is too long if the clock was put back, or if the timeouts are stricter now.
local is_too_long = expires_at > full_life(state, math.huge)
local is_due = refreshed_at == 0 or is_used_up or is_too_long or now - refreshed_at >= LONGEST_WITHOUT_REFRESH
if not is_due or state.is_prepared or peeks == '1' then
  return { nonce, 'ok', info(state), fields, group_values }
end

if lifetime.refresh_interval < 0 then
  -- After its first load, a session lives as if it had been loaded when it was created.
  full = math.min(full, refreshed_at == 0 and math.min(state.created_at, now) + state.idle_timeout or expires_at)
  full = math.max(full, now + 1)
end
-- If the refresh cannot be written (full memory, replica), the load still succeeds. The first write shows whether the
-- refresh is refused.
local before = info(state)
state.refreshed_at, state.expires_at = now, full
local written
if record.members then
  written = redis.pcall('ZADD', record.members, full, record.id)
else
  written = redis.pcall('PEXPIREAT', record.key, full)
end
if type(written) ~= 'number' then
  return { nonce, 'not refreshed', written.err, before, fields, group_values }
end
redis.call('HSET', record.key, 's', pack_state(state))
if state.is_clock_put_back then
  redis.call('HSET', record.key, 'b', state.began_at)
end
if record.members then
  redis.call('PEXPIREAT', record.key, full)
  expire_with_members(record, full)
end
return { nonce, 'refreshed', info(state), fields, group_values }
