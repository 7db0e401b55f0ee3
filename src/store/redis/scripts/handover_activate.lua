-- Activates a prepared record. The record in the other slot has to be ended before.
-- KEYS: generation
--       record
--       ended set; only in a group
-- ARGV: nonce
--       refresh interval (ms; below 0 for never), idle timeout (ms), absolute timeout (ms; '' for none)
--       whether the session joins a group (0 or 1), limit of the group ('' for none)
--       how long the ended set lives (ms)
--       whether the session keeps an idle timeout of its own (0 or 1)
--       when its absolute timeout began (ms)
--       when the session expires, if it was never loaded (ms; '' if it was loaded)
--       list of the four fields of nonces that the other record had
--       list of the fields that were incremented
-- Reply: 'ok', info, list of ids that the limit has ended, whether others are still to end, list of the totals
--        'gone'
local record, ended_key, lifetime = next_record(), next_key(), next_lifetime()
local joins, limit, ended_set_lifetime = next_flag(), next_number(), next_number()
local has_own_idle_timeout, began_at, unconfirmed_until = next_flag(), next_number(), next_number()
local first_nonces, last_nonces = next_list()
local first_total, last_total = next_list()

if redis.call('EXISTS', record.key) == 0 or not knows_call(record) then
  return { nonce, 'gone' }
end
local ended, more = {}, 0
if redis.call('HEXISTS', record.key, 'p') == 1 then
  local c, a, i, x = unpack(redis.call('HMGET', record.key, 'c', 'a', 'i', 'x'))
  local state =
    { created_at = read_integer(c), ends_at = read_integer(a), idle_timeout = read_integer(i), now = now_ms() }
  if not x or x ~= generation() then
    return { nonce, 'gone' }
  elseif not (state.created_at and state.ends_at and state.idle_timeout) then
    return { nonce, 'corrupt' }
  end
  check_group(record)
  -- THE FIRST WRITE sets an expiry, so a full memory allows all others. The old record has ended, so this must succeed.
  write_for_wait(record)
  local is_unconfirmed = unconfirmed_until and not joins
  redis.call('HSET', record.key, 'r', is_unconfirmed and 0 or state.now)
  for at = first_nonces, last_nonces do
    local field = 'n' .. (at - first_nonces)
    local later = redis.call('HGET', record.key, field) or ''
    redis.call('HSET', record.key, field, (ARGV[at] .. later):sub(-8 * NONCE_LENGTH))
  end
  if has_own_idle_timeout then
    redis.call('HSET', record.key, 'o', 1)
  end
  redis.call('HDEL', record.key, 'p')
  if joins then
    state.ends_at = lifetime.absolute_timeout and state.now + lifetime.absolute_timeout or 0
    redis.call('HSET', record.key, 'j', state.now, 'a', state.ends_at)
    local ended_set = { key = ended_key, lifetime = ended_set_lifetime }
    ended, more = join(record, full_life(state, lifetime.refresh_interval), x, limit, ended_set)
  else
    if began_at and began_at ~= state.created_at then
      redis.call('HSET', record.key, 'b', began_at)
    end
    local full = full_life(state, lifetime.refresh_interval)
    expire(record, is_unconfirmed and math.min(unconfirmed_until, full) or full)
  end
else
  write_for_wait(record)
end
local state, refusal, id, version = live_state(record, lifetime)
if not state then
  return { nonce, refusal, id, version }
end
local totals = {}
for at = first_total, last_total do
  totals[#totals + 1] = redis.call('HGET', record.key, ARGV[at]) or ''
end
return { nonce, 'ok', info(state), ended, more, totals }
