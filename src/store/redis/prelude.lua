-- What every script begins with.
--
-- A record is one hash: the values under ":key" as JSON text, and the library's own fields under bare letters:
--   v version   c created (ms)   a ends at the latest (ms, 0 never)   i idle timeout (ms)
--   s size of the values (bytes)   n0 to n3 the nonces of the last calls that changed it
-- The key's own expiry is the session's. ARGV[1] is the call's nonce: every reply begins with it.
local key, nonce = KEYS[1], ARGV[1]
local CHUNK, NONCE = 1000, 8

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The life that a record has from now on (ms); a refresh interval below 0 means "never refreshed".
local function full_life(idle, interval, ends, now)
  local life = idle + math.max(0, math.min(interval, math.floor(idle / 100)))
  if ends > 0 then
    life = math.min(life, ends - now)
  end
  return math.max(life, 1)
end

-- Calls a command with the arguments from `first` to `last`; `unpack` fails at about 8,000 of them.
local function in_chunks(command, list, first, last)
  for from = first, last, CHUNK do
    redis.call(command, key, unpack(list, from, math.min(from + CHUNK - 1, last)))
  end
end

-- How the record stands: nonce, status, then version, created, ends, idle timeout, now, time left.
local function standing(status)
  local about = redis.call('HMGET', key, 'v', 'c', 'a', 'i')
  return { nonce, status, about[1], about[2], about[3], about[4], now_ms(), redis.call('PTTL', key) }
end

-- The last 25 to 32 nonces are remembered, eight in each of four fields by turns: none of them gets longer than the 64
-- bytes up to which Redis keeps a hash compact.
local function is_known()
  for _, nonces in ipairs(redis.call('HMGET', key, 'n0', 'n1', 'n2', 'n3')) do
    for at = 1, #(nonces or ''), NONCE do
      if nonces:sub(at, at + NONCE - 1) == nonce then
        return true
      end
    end
  end
  return false
end

-- The field for the nonce of the change that leads to this version, and what it is to hold then.
local function remembered(version)
  local field = 'n' .. math.floor(version / 8) % 4
  local before = version % 8 > 0 and redis.call('HGET', key, field) or ''
  return field, before .. nonce
end
