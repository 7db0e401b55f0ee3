-- Applies a change set to a record as it is now, wholly or not at all. If there is a new key, moves the record to it in
-- the same step: the session gets a new id.
-- KEYS: generation
--       record (for a move three keys, even without a group)
--       new record; only for a move
--       ended set; only for a move into a group
-- ARGV: nonce
--       refresh interval (ms; below 0 for never), idle timeout (ms), absolute timeout (ms; '' for none)
--       version at which the earliest forward to this record was made ('' if there was no forward)
--       whether a record of an earlier id knows the call (0 or 1)
--       expected version ('' for any)
--       field that has to hold a value ('' for none), and the value
--       limits for the number and the size of the values
--       grace of the old id (ms; '' for none)
--       trail: how long the old id still ends the session (ms)
--       whether the session joins a group (0 or 1), the group's name, limit of the group ('' for none)
--       how long the ended set lives (ms)
--       new idle timeout of the session's own (ms; '' for none)
--       whether to clear all values first (0 or 1)
--       list of values to set: field, JSON text
--       list of fields to remove
--       list of increments: field, integer
-- Reply: 'ok', info, list of ids that the limit has ended, whether others are still to end, list of the totals
--        'conflict', 'exists', 'gone'
--        'not an integer', field
--        'too large', size
--        'too many keys', number
--        'broken off': an earlier attempt of this call wrote its changes, but did not move the record
--        'forward', id, version with which the record's own id was replaced, 0, whether the record knows the call
local record, new, ended_key = next_record(), next_record(), next_key()
local lifetime, replaced_in, is_repeated = next_lifetime(), next_number(), next_flag()
local expected, held_field, held = next_number(), next_text(), next_text()
local most_keys, most_bytes = next_number(), next_number()
local grace, trail = next_number() or 0, next_number()
local joins, group_name, limit, ended_set_lifetime = next_flag(), next_text(), next_number(), next_number()
local new_idle_timeout, clear = next_number(), next_flag()
local first_set, last_set = next_list(2)
local first_remove, last_remove = next_list()
local first_increment, last_increment = next_list(2)

local function ok(state, ended, more)
  local totals = {}
  for at = first_increment, last_increment, 2 do
    totals[#totals + 1] = redis.call('HGET', record.key, ARGV[at]) or ''
  end
  return { nonce, 'ok', info(state), ended, more, totals }
end

local new_status = new and new_key_status(new)
local is_moved = new_status == 'made'
if is_moved then
  record = new
elseif new and new_status ~= 'free' then
  return { nonce, new_status }
end
local state, refusal, id, version = live_state(record, lifetime, replaced_in)
if not state then
  if refusal == 'forward' and new then
    refusal = 'gone' -- An id that was replaced cannot be replaced again.
  end
  -- After a handover, only the record of the old id may know the call. So the reply says whether it does.
  return { nonce, refusal, id, version, 0, refusal == 'forward' and knows_call(record) and 1 or 0 }
elseif is_moved or is_repeated or knows_call(record) then
  if new and not is_moved then
    return { nonce, 'broken off' }
  end
  write_for_wait(record)
  return ok(state, {}, 0)
elseif expected and expected ~= state.version then
  return { nonce, 'conflict' }
elseif held_field ~= '' and redis.call('HGET', record.key, held_field) ~= held then
  return { nonce, 'conflict' }
end
local k, s = unpack(redis.call('HMGET', record.key, 'k', 's'))
local old_keys, old_bytes = read_integer(k), read_integer(s)
if not old_keys or not old_bytes then
  return { nonce, 'corrupt' }
end
if new then
  check_group(record)
  check_group(new)
end

-- All checks come before the first write, because Redis does not roll a script back.
local keys, bytes, totals = clear and 0 or old_keys, clear and 0 or old_bytes, {}

-- A JSON text is never empty: a length of 0 means that there is no value.
local function count(field, old_length, new_length)
  keys = keys + (new_length > 0 and 1 or 0) - (old_length > 0 and 1 or 0)
  bytes = bytes + (new_length > 0 and new_length + #field - 1 or 0) - (old_length > 0 and old_length + #field - 1 or 0)
end

local function length(field)
  return clear and 0 or redis.call('HSTRLEN', record.key, field)
end

for at = first_set, last_set, 2 do
  local field, json = ARGV[at], ARGV[at + 1]
  count(field, length(field), #json)
end
for at = first_remove, last_remove do
  local field = ARGV[at]
  count(field, length(field), 0)
end
for at = first_increment, last_increment, 2 do
  local field, by = ARGV[at], ARGV[at + 1]
  local before = not clear and redis.call('HGET', record.key, field)
  local total = sum(before or '0', by)
  if not total then
    return { nonce, 'not an integer', field }
  end
  count(field, before and #before or 0, #total)
  totals[#totals + 1], totals[#totals + 2] = field, total
end
if bytes > math.max(most_bytes, old_bytes) then
  return { nonce, 'too large', bytes }
elseif keys > math.max(most_keys, old_keys) then
  return { nonce, 'too many keys', keys }
end

local now = state.now
state.version = state.version + 1
-- THE FIRST WRITE adds, so a full memory refuses the change.
redis.call('HSET', record.key, 'v', state.version, 'k', math.max(keys, 0), 's', math.max(bytes, 0),
  nonce_field(record, state.version))
if clear then
  local cleared = {}
  for _, field in ipairs(redis.call('HKEYS', record.key)) do
    if field:sub(1, 1) == ':' then
      cleared[#cleared + 1] = field
    end
  end
  in_chunks('HDEL', record.key, cleared, 1, #cleared)
end
in_chunks('HSET', record.key, ARGV, first_set, last_set)
in_chunks('HDEL', record.key, ARGV, first_remove, last_remove)
in_chunks('HSET', record.key, totals, 1, #totals)
if new_idle_timeout then
  state.idle_timeout = new_idle_timeout
  redis.call('HSET', record.key, 'o', 1)
elseif new and record.members and record.members ~= new.members then
  state.idle_timeout = lifetime.idle_timeout
  redis.call('HDEL', record.key, 'o')
end
if joins then
  state.joined_at, state.began_at = now, now
  state.ends_at = lifetime.absolute_timeout and now + lifetime.absolute_timeout or 0
  redis.call('HSET', record.key, 'g', group_name, 'j', now)
  redis.call('HDEL', record.key, 'b')
elseif new and not new.members then
  state.joined_at = false
  redis.call('HDEL', record.key, 'g', 'j')
  if state.began_at ~= state.created_at then
    redis.call('HSET', record.key, 'b', state.began_at)
  end
end

local is_same_group = new and record.members == new.members
local order = is_same_group and record.joined and redis.call('ZSCORE', record.joined, record.id)
if new then
  if is_same_group and record.members then
    remove_members(record, { record.id })
  else
    leave_group(record)
  end
  redis.call('RENAME', record.key, new.key)
  if is_same_group then
    redis.call('HSET', record.key, 'f', new.id, 'u', now + grace, 'm', state.version)
    redis.call('PEXPIRE', record.key, math.max(grace, trail))
  else
    redis.call('HDEL', new.key, 'e')
  end
  record = new
end

local ended, more = {}, 0
if new or (new_idle_timeout and not state.is_prepared) then -- A prepared record gets its life when it is activated.
  local full = full_life(state, lifetime.refresh_interval)
  if state.refreshed_at == 0 and not joins then
    state.expires_at = math.min(state.expires_at, full) -- The session was not loaded yet, so its life stays short.
  else
    state.refreshed_at, state.expires_at = now, full
  end
  redis.call('HSET', record.key, 'r', state.refreshed_at, 'i', state.idle_timeout, 'a', state.ends_at)
  if state.is_clock_put_back and not joins then
    redis.call('HSET', record.key, 'b', state.began_at)
  end
  if joins then
    local ended_set = { key = ended_key, lifetime = ended_set_lifetime }
    ended, more = join(record, state.expires_at, state.generation, limit, ended_set)
  else
    if order then
      redis.call('ZADD', record.joined, order, record.id)
    end
    expire(record, state.expires_at)
  end
elseif new_idle_timeout then
  redis.call('HSET', record.key, 'i', state.idle_timeout)
end
return ok(state, ended, more)
