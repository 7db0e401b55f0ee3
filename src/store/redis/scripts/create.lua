-- Creates a record; never overwrites one.
-- KEYS: generation, the record's; in a group the one for what is left to be swept.
-- ARGV: nonce, refresh interval (ms; below 0 never), idle timeout (ms), absolute timeout (ms; '' none), whether the
--       idle timeout is this session's own (0 or 1), how long it lives until it is loaded ('' as long as otherwise),
--       number and size of the values, the group's name, how many sessions the group may have ('' any number), how long
--       what is left to be swept is kept (ms); then field and value by turns.
local settings, own_idle, unconfirmed = lifetime(ARGV[2], ARGV[3], ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6])
local number, size, group_name, limit, memory = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10]), ARGV[11]
local first_value = 12

local made = made_before(record)
if made == 'made' then
  local state, answer = standing(record, settings)
  if not state then
    return answer
  end
  touch(record)
  return { nonce, 'ok', info(state), {}, 0 }
elseif made then
  return { nonce, made }
end
check_group(record)
local of_generation, now = generation_or_new(), now_ms()
local state = { version = 1, created = now, joined = record.members and now or false, refreshed = now, now = now,
  ends = settings.absolute and now + settings.absolute or 0, idle = settings.idle }
state.expires = full_life(state, settings.interval)
if unconfirmed and now + unconfirmed < state.expires then
  state.expires, state.refreshed = now + unconfirmed, 0
end
redis.call('HSET', record.key, 'v', 1, 'c', now, 'r', state.refreshed, 'a', state.ends, 'i', state.idle, 'k', number,
  's', size, 'x', of_generation, remembered(record, 1))
if own_idle then
  redis.call('HSET', record.key, 'o', 1)
end
in_chunks('HSET', record.key, ARGV, first_value, #ARGV)
local ended, more = {}, 0
if record.members then
  redis.call('HSET', record.key, 'g', group_name, 'j', now)
  ended, more = join(record, state.expires, of_generation, limit, { key = KEYS[5], memory = memory })
else
  expire(record, state.expires)
end
return { nonce, 'ok', info(state), ended, more }
