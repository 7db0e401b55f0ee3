-- Ends all sessions of a group but one, in a single step: a session is alive only while it is a member. The records of
-- the ended sessions are removed afterwards, by sweep.lua.
-- KEYS: generation
--       members, order of joining
--       ended set
--       own key of the record that stays, if one does
-- ARGV: nonce
--       version in which the earliest id that leads to the kept record was replaced ('' if there is none)
--       how long the ended set lives (ms)
-- Reply: 'ok', number of sessions that have ended, list of their ids, when they have ended (ms)
--        'forward', id, version in which the id of the record that was to stay was replaced
local _, members, joined, ended, stays = unpack(KEYS)
local replaced_in, ended_set_lifetime = unpack(ARGV, 2, 3)

local packed, graces_ended
if stays then
  packed, graces_ended = unpack(call_or_nil('HMGET', stays, 's', 'e') or {})
  local id, id_replaced_in = forward(stays)
  if id and not packed then
    return { nonce, 'forward', id, id_replaced_in }
  end
end
local of_generation = present_generation()
if redis.call('EXISTS', ended) == 0 then -- If the ended set exists, this call was made before.
  if redis.call('TYPE', members).ok ~= 'zset' or not is_of_generation(members, of_generation) then
    -- The group is damaged, has ended with its namespace, or does not exist.
    if redis.call('UNLINK', members, joined) == 0 then
      write_and_remove(ended)
    end
  else
    local id = stays and stays:sub(-ID_LENGTH)
    local version = packed and #packed == STATE_LENGTH and unpack_state(packed).version
    local expires_at = version and redis.call('ZSCORE', members, id)
    if replaced_in ~= '' and graces_ended and tonumber(replaced_in) <= (read_integer(graces_ended) or math.huge) then
      expires_at = false
    end
    local order = expires_at and call_or_nil('ZSCORE', joined, id) or string.format('%.0f', now_us)
    if expires_at then
      redis.call('HSET', stays, 'e', version) -- THE FIRST WRITE adds, so a full memory refuses the call.
    end
    redis.call('RENAME', members, ended)
    redis.call('UNLINK', joined)
    redis.call('ZREM', ended, GENERATION)
    if expires_at then
      redis.call('ZREM', ended, id)
      redis.call('ZADD', members, -of_generation, GENERATION, expires_at, id)
      redis.call('ZADD', joined, order, id)
      redis.call('PEXPIREAT', members, read_integer(expires_at) or now + 1)
      redis.call('PEXPIREAT', joined, read_integer(expires_at) or now + 1)
    end
  end
end
-- A call that was made before writes this too: see `write_for_wait` in change.lua.
redis.call('PEXPIRE', ended, ended_set_lifetime)
return { nonce, 'ok', redis.call('ZCOUNT', ended, now, '+inf'), ended_ids(ended, now), now }
