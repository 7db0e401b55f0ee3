-- Reads a record, and extends its life if that is due.
-- Gives how it stands, whether its life was extended (0 or 1), its fields, and the error that kept the refresh from
-- being written, if one did.
-- KEYS: generation, the record's.
-- ARGV: nonce, refresh interval (ms; below 0 never), idle timeout (ms), absolute timeout (ms; '' none), the version
--       since the earliest of the ids by which it was reached ('' if it was its own).
local settings, since = lifetime(ARGV[2], ARGV[3], ARGV[4]), ARGV[5]

local fields = redis.call('HGETALL', record.key)
if #fields == 0 then
  return { nonce, 'gone' }
end
local state, answer = standing(record, settings, since)
if not state then
  return answer
elseif state.prepared and since == '' then
  return { nonce, 'gone' } -- Nobody was given its id: it can be reached in a grace alone.
end
local now, refreshed, refused = state.now, 0, nil
local full = full_life(state, settings.interval)
local is_used_up = settings.interval >= 0 and state.expires < now + state.idle and full > state.expires
-- The clock was put back, or the timeouts are stricter now.
local is_too_long = state.expires > full_life(state, math.huge) + ROUNDING
local is_due = state.refreshed == 0 or is_used_up or is_too_long or now - state.refreshed >= LONGEST_WITHOUT_REFRESH
if is_due and not state.prepared then
  if settings.interval < 0 then
    -- Once it is loaded it lives as if it had done so from its creation on.
    full = math.min(full, state.refreshed == 0 and math.min(state.created, now) + state.idle or state.expires)
    full = math.max(full, now + 1)
  end
  -- A refresh that cannot be written (a full memory, a replica) does not fail the load. The first command tells.
  local first = { 'PEXPIREAT', record.key, full }
  if record.members then
    first = { 'ZADD', record.members, full, record.id }
  end
  local written = redis.pcall(unpack(first))
  if type(written) == 'number' then
    expire(record, full)
    redis.pcall('HSET', record.key, 'r', now, 'i', state.idle, 'a', state.ends)
    if state.is_ahead then
      redis.pcall('HSET', record.key, 'b', state.began)
    end
    state.refreshed, state.expires, refreshed = now, full, 1
  else
    refused = written.err
  end
end
return { nonce, 'ok', info(state), refreshed, fields, refused }
