-- Reads a record, and extends its life if that is due.
-- ARGV: nonce, refresh interval (ms; below 0: never), whether it was reached by an id that the session had before (0 or 1).
local fields = redis.call('HGETALL', record.key)
if #fields == 0 then
  return { nonce, 'gone' }
end
if #fields <= 14 then -- It may be what is left of a record that has got another id.
  local left = redis.call('HMGET', record.key, 'v', 'f', 'u', 't')
  if not left[1] and (left[2] or left[4]) then
    local id = forward(left[2], left[3])
    return { nonce, id and 'forward' or 'gone', id }
  end
end
local about, prepared = standing(record)
-- What is only prepared has an id that nobody was given, and can be reached in a grace alone.
if not is_member(record) or (prepared and ARGV[3] == '0') then
  return { nonce, 'gone' }
end
local ends, idle, now, left = tonumber(about[5]), tonumber(about[6]), about[7], about[8]
if not (about[1] and about[2] and about[4] and ends and idle) then
  return { nonce, 'corrupt' }
end
local interval, refreshed = tonumber(ARGV[2]), 0
if not prepared and (left < 0 or (interval >= 0 and left < idle)) then
  local life = full_life(idle, interval, ends, now)
  -- A refresh that cannot be written (a full memory, a replica) does not fail the load. The first command tells.
  local first = { 'PEXPIREAT', record.key, now + life }
  if record.members then
    first = { 'ZADD', record.members, now + life, record.id }
  end
  if life > left and type(redis.pcall(unpack(first))) == 'number' then
    expire(record, now + life)
    redis.pcall('HSET', record.key, 'r', now)
    about[4], about[8], refreshed = now, life, 1
  end
end
return { nonce, 'ok', about, refreshed, fields }
