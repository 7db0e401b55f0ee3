-- Activates a prepared record. handover_end.lua has ended the old record before.
-- KEYS: generation
--       record; in a group with its values and its reserved places
--       ended set; only in a group
-- ARGV: nonce
--       refresh interval (ms; below 0 for never), idle timeout (ms), absolute timeout (ms; '' for none)
--       whether the session joins a group (0 or 1), limit of the group ('' for none), whether a session beyond it is
--       refused (0 or 1)
--       how long the ended set lives (ms)
--       when its absolute timeout began (ms)
--       when the session expires, if it was never loaded (ms; '' if it was loaded)
--       list of the four fields of nonces that the other record had
--       list of the fields that were incremented
-- Reply: 'ok', info, list of the totals, list of ids that the limit has ended, whether others are still to end
--        'gone'
local record, ended_key, lifetime = record_at(2), KEYS[7], lifetime_at(2)
local joins, limit, refuses, ended_set_lifetime, began_at, unconfirmed_until = unpack(ARGV, 5, 10)
local first_nonces, last_nonces = list_at(11, 1)
local first_total, last_total = list_at(last_nonces + 1, 1)

local s, p, g, n0, n1, n2, n3 = unpack(redis.call('HMGET', record.key, 's', 'p', 'g', 'n0', 'n1', 'n2', 'n3'))
local later = { n0 or '', n1 or '', n2 or '', n3 or '' }
if not s or not knows_call(s:sub(-NONCE_LENGTH), later) then
  return { nonce, 'gone' }
end
local ended, more = ended_key and ended_ids(ended_key, now) or {}, 0
if p then
  if #s ~= STATE_LENGTH then
    return { nonce, 'corrupt' }
  end
  local state = unpack_state(s)
  if state.generation ~= present_generation() then
    return { nonce, 'gone' }
  end
  check_group(record)
  if refuses == '1' then
    redis.call('ZREM', record.reserved, record.id)
    if is_full(record, tonumber(limit), record.id) then
      -- The place was lost: Redis has evicted it, or another login had another limit.
      redis.call('UNLINK', record.key)
      return { nonce, 'gone' }
    end
  end
  -- THE FIRST WRITE sets an expiry, so a full memory allows all others. The old record has ended, so this must succeed.
  write_for_wait(record)
  for number = 0, 3 do
    local nonces = (ARGV[first_nonces + number] .. later[number + 1]):sub(-8 * NONCE_LENGTH)
    redis.call('HSET', record.key, 'n' .. number, nonces)
  end
  redis.call('HDEL', record.key, 'p')
  if joins == '1' then
    state.refreshed_at, state.ends_at = now, lifetime.absolute_timeout and now + lifetime.absolute_timeout or 0
    state.expires_at = full_life(state, lifetime.refresh_interval)
    redis.call('HSET', record.key, 'g', struct.pack('>I6', now) .. g:sub(7), 's', pack_state(state))
    local ends_beyond = refuses ~= '1' and tonumber(limit) or nil
    ended, more = join(record, state, ends_beyond, { key = ended_key, lifetime = tonumber(ended_set_lifetime) })
  else
    if tonumber(began_at) ~= state.created_at then
      redis.call('HSET', record.key, 'b', began_at)
    end
    state.refreshed_at = unconfirmed_until == '' and now or 0
    state.expires_at = math.min(tonumber(unconfirmed_until) or math.huge, full_life(state, lifetime.refresh_interval))
    redis.call('HSET', record.key, 's', pack_state(state))
    expire(record, state)
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
return { nonce, 'ok', info(state), totals, ended, more }
