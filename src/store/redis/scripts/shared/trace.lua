-- The removal of records, and the traces that they leave.

-- Writes a key and removes it, for a call that finds nothing there. Such a call must write all the same: see
-- `write_unchanged` in change.lua, and THE FIRST WRITE: a full memory allows what comes after UNLINK.
local function write_nothing(key)
  redis.call('UNLINK', key)
  redis.call('HSET', key, 't', nonce)
  redis.call('UNLINK', key)
end

-- Removes what is under a record's key, and gives the size of its values. Leaves a trace if the record is younger than
-- a trace lives (ms): the call that made it may be repeated, and must not make it again. Leaves a trace and the id too
-- if the key leads elsewhere: the call that ends the session may be repeated, and has to find it.
local function remove_record(key, trace_lifetime)
  local v, c, r, t, f, s = unpack(try('HMGET', key, 'v', 'c', 'r', 't', 'f', 's') or {})
  if not v and (t or f) then
    if redis.call('PTTL', key) < trace_lifetime then
      redis.call('PEXPIRE', key, trace_lifetime)
    end
    return 0
  end
  local latest_use = math.max(whole(c) or 0, whole(r) or 0)
  local was_there = redis.call('UNLINK', key) == 1
  if f or now_ms() - latest_use < trace_lifetime then
    redis.call('HSET', key, 't', nonce)
    if f then
      redis.call('HSET', key, 'f', f)
    end
    redis.call('PEXPIRE', key, trace_lifetime)
  elseif not was_there then
    write_nothing(key)
  end
  return whole(s) or 0
end
