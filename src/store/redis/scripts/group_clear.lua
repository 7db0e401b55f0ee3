-- Ends all sessions of a group in one step, but one if need be: what is no member is dead. Their records are removed
-- afterwards, with sweep.lua.
-- KEYS: generation, the group's two, the one for what is left to be swept; the record's of the session that stays, if
--       one does.
-- ARGV: nonce, the version since the earliest of the ids by which the session that stays was reached ('' if it was its
--       own), how many ids to answer with, how long what is left to be swept is kept (ms).
local members, joined, ended, stays = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local since, batch, memory = tonumber(ARGV[2]), ARGV[3], ARGV[4]

local version, graces_ended
if stays then
  version, graces_ended = unpack(try('HMGET', stays, 'v', 'e') or {})
  local id, id_since = forward(stays)
  if id and not version then
    return { nonce, 'forward', id, id_since }
  end
end
local of_generation = whole(try('HGET', KEYS[1], 'began'))
if redis.call('EXISTS', ended) == 0 then -- Else this call was made before.
  if redis.call('TYPE', members).ok ~= 'zset' or not is_of(members, of_generation) then
    -- It is damaged, or has ended with its namespace, or is not there.
    if redis.call('UNLINK', members, joined) == 0 then
      touch_nothing(ended)
    end
  else
    local id = stays and stays:sub(-ID)
    local expires = whole(version) and redis.call('ZSCORE', members, id)
    if since and graces_ended and since <= (whole(graces_ended) or since) then
      expires = false
    end
    local order = expires and try('ZSCORE', joined, id) or string.format('%.0f', now_us())
    if expires then
      redis.call('HSET', stays, 'e', version) -- The first write adds, so that a full memory refuses it.
    end
    redis.call('RENAME', members, ended)
    redis.call('UNLINK', joined)
    redis.call('ZREM', ended, GENERATION)
    if expires then
      redis.call('ZREM', ended, id)
      redis.call('ZADD', members, -of_generation, GENERATION, expires, id)
      redis.call('ZADD', joined, order, id)
      redis.call('PEXPIREAT', members, whole(expires) or now_ms() + 1)
      redis.call('PEXPIREAT', joined, whole(expires) or now_ms() + 1)
    end
  end
end
redis.call('PEXPIRE', ended, memory) -- Of a call that was made before too: see touch.
return { nonce, 'ok', redis.call('ZCOUNT', ended, now_ms(), '+inf'), redis.call('ZRANGE', ended, 0, batch - 1) }
