-- Ends a record that goes to another slot, if it is still as it was read. For a while it is remembered by which call,
-- should that be made again. Gives what goes with it: its nonces, whether its idle timeout is its own, when its
-- absolute timeout began, and when it ends if its life is shorter until it is loaded for the first time ('' else).
-- KEYS: generation, the record's.
-- ARGV: nonce, refresh interval (ms; below 0 never), idle timeout (ms), absolute timeout (ms; '' none), expected
--       version ('' to ask only whether this call was made before), grace for the id (ms; '' none), for how long that
--       ends the session (ms; '' not at all), the new id, how long to remember it (ms).
local settings, expected = lifetime(ARGV[2], ARGV[3], ARGV[4]), ARGV[5]
local grace, trail, new_id, memory = tonumber(ARGV[6]) or 0, tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9])

local v, t, n0, n1, n2, n3, o, b, l =
  unpack(redis.call('HMGET', record.key, 'v', 't', 'n0', 'n1', 'n2', 'n3', 'o', 'b', 'l'))
local nonces = { n0 or '', n1 or '', n2 or '', n3 or '' }
if t == nonce and not v then
  touch(record)
  return { nonce, 'ok', nonces, o or '', b or '', l or '' }
end
local state, answer = standing(record, settings)
if not state then
  return { nonce, answer[2] == 'forward' and 'gone' or answer[2] }
elseif tonumber(expected) ~= state.version then
  return { nonce, 'moved' }
end
check_group(record)
redis.call('HSET', record.key, 't', nonce) -- The first write adds, so that a full memory refuses it.
leave(record)
redis.call('UNLINK', record.key)
redis.call('HSET', record.key, 't', nonce, 'n0', nonces[1], 'n1', nonces[2], 'n2', nonces[3], 'n3', nonces[4], 'b',
  state.began)
if o then
  redis.call('HSET', record.key, 'o', o)
end
local unconfirmed = state.refreshed == 0 and string.format('%.0f', state.expires) or ''
if unconfirmed ~= '' then
  redis.call('HSET', record.key, 'l', unconfirmed)
end
if trail then
  redis.call('HSET', record.key, 'f', new_id, 'u', state.now + grace, 'm', state.version + 1)
  memory = math.max(memory, grace, trail)
end
redis.call('PEXPIRE', record.key, memory)
return { nonce, 'ok', nonces, o or '', string.format('%.0f', state.began), unconfirmed }
