-- Brings a record to life that has come from another slot.
-- KEYS: generation, the record's; in a group the one for what is left to be swept.
-- ARGV: nonce, refresh interval (ms; below 0 never), idle timeout (ms), absolute timeout (ms; '' none), whether it
--       joins a group (0 or 1), how many sessions the group may have ('' any number), how long what is left to be swept
--       is kept (ms), whether its idle timeout is its own and stays so (1, or ''), when its absolute timeout began
--       (ms), when it ends if its life is shorter until it is loaded for the first time ('' else), the four fields of
--       nonces that it had; then the fields whose values to answer with.
local settings, joins, limit = lifetime(ARGV[2], ARGV[3], ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6])
local rest, own_idle, began = { key = KEYS[5], memory = ARGV[7] }, ARGV[8] == '1', tonumber(ARGV[9])
local unconfirmed = not joins and tonumber(ARGV[10])
local first_nonces, first_total = 11, 15

if redis.call('EXISTS', record.key) == 0 or not is_known(record) then
  return { nonce, 'gone' }
end
local ended, more = {}, 0
if redis.call('HEXISTS', record.key, 'p') == 1 then
  local c, a, i, x = unpack(redis.call('HMGET', record.key, 'c', 'a', 'i', 'x'))
  local state = { created = whole(c), ends = whole(a), idle = whole(i), now = now_ms() }
  if not x or x ~= generation() then
    return { nonce, 'gone' }
  elseif not (state.created and state.ends and state.idle) then
    return { nonce, 'corrupt' }
  end
  check_group(record)
  touch(record) -- A full memory refuses what adds, if it comes first.
  redis.call('HSET', record.key, 'r', unconfirmed and 0 or state.now)
  for number = 0, 3 do
    local since = redis.call('HGET', record.key, 'n' .. number) or ''
    redis.call('HSET', record.key, 'n' .. number, (ARGV[first_nonces + number] .. since):sub(-8 * NONCE))
  end
  if own_idle then
    redis.call('HSET', record.key, 'o', 1)
  end
  redis.call('HDEL', record.key, 'p')
  if joins then
    state.ends = settings.absolute and state.now + settings.absolute or 0
    redis.call('HSET', record.key, 'j', state.now, 'a', state.ends)
    ended, more = join(record, full_life(state, settings.interval), x, limit, rest)
  else
    if began and began ~= state.created then
      redis.call('HSET', record.key, 'b', began)
    end
    local full = full_life(state, settings.interval)
    expire(record, unconfirmed and math.min(unconfirmed, full) or full)
  end
else
  touch(record)
end
local state, answer = standing(record, settings)
if not state then
  return answer
end
local totals = {}
for at = first_total, #ARGV do
  totals[#totals + 1] = redis.call('HGET', record.key, ARGV[at]) or ''
end
return { nonce, 'ok', info(state), ended, more, totals }
