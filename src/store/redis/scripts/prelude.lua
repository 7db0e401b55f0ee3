-- What scripts begin with: the layout of the data, and how a script reads its keys and arguments.
--
-- A script reads its KEYS and ARGV in order, into names, at its top. The first argument is the nonce of the call. Every
-- reply begins with this nonce and a status.
--
-- A RECORD is a hash. It has the values under ":key" as JSON text, and the library's own fields under short names.
-- Times are milliseconds since 1970. The key expires when the session does.
--   v         version
--   c         created at
--   j         joined its group at; only in a group
--   g         name of the group; only in a group
--   b         absolute timeout began at, if that is neither j nor c
--   a         ends at the latest; 0 for never
--   i         idle timeout (ms)
--   o         1 if that is the session's own
--   r         got its last full life at; 0 until the first load, if the life is shorter until then
--   k, s      number and size (bytes) of the values
--   n0 to n3  nonces of the last calls that changed it
--   e         graces of ids that were replaced up to this version have ended
--   x         generation of its namespace
--   p         its version, if it is only prepared: see handover.rs
-- A hash without v is not a record. It may be one of these, or both:
--   A FORWARD, under an id that was replaced. It expires when the id no longer ends the session.
--     f       id that the session has now
--     u       grace ends at: until then, calls with the old id reach the session
--     m       version with which the id was replaced
--   A TRACE, under an id whose session has ended or was handed over.
--     t       nonce of the call that ended it
--     n0 to n3, b, o   as in the record that was handed over
--     l       expires at, if it was not loaded yet
--
-- A GROUP is two sorted sets of ids: the members by expiry, and the same by the order of joining (microseconds since
-- 1970, no two alike). Entries that have expired may still be there. A session in a group lives only while it is among
-- the members. The members have one entry more, 'generation', with minus the generation as its score. An ENDED SET has
-- the sessions of a group that one call has ended, until their records are removed.
--
-- A GENERATION is the time when the first session of a namespace was created (microseconds since 1970), in a hash under
-- a key of its own. Records and groups of another generation have ended. So all sessions end when that key is removed.
--   began     generation
--   cleared   all sessions were last ended at (ms): see namespace.rs
--
-- THE FIRST WRITE of a script decides what happens at `maxmemory`, because Redis looks at it only until a script has
-- written something. If the first write adds (HSET, ZADD), Redis refuses it, and nothing is written. If the first write
-- removes or sets an expiry (UNLINK, ZREM, PEXPIRE), Redis allows it, and then all others too. So a script that may be
-- refused begins with a write that adds. A script that must not be refused begins with one that does not add.
local KEYS, ARGV = KEYS, ARGV -- Locals are faster than globals.
local CHUNK, NONCE_LENGTH, ID_LENGTH = 1000, 8, 24

local keys_read, arguments_read = 0, 0

-- The next of KEYS; nil if none is left.
local function next_key()
  keys_read = keys_read + 1
  return KEYS[keys_read]
end

-- The next of ARGV, as text.
local function next_text()
  arguments_read = arguments_read + 1
  return ARGV[arguments_read]
end

-- The next of ARGV, as a number; nil if it is empty.
local function next_number()
  arguments_read = arguments_read + 1
  return tonumber(ARGV[arguments_read])
end

-- The next of ARGV, as a boolean: 1 or 0.
local function next_flag()
  arguments_read = arguments_read + 1
  return ARGV[arguments_read] == '1'
end

-- The next list of ARGV: the number of its items, and then the items, of so many arguments each. Gives the positions of
-- the first and the last argument of the items.
local function next_list(arguments_per_item)
  local first = arguments_read + 2
  arguments_read = arguments_read + 1 + ARGV[first - 1] * (arguments_per_item or 1)
  return first, arguments_read
end

local nonce = next_text()

local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function now_ms()
  return math.floor(now_us() / 1000)
end

-- A number as the library writes it: whole, and not so large that Lua's numbers skip some. nil for anything else, which
-- is damage.
local function whole(text)
  local number = tonumber(text)
  return number and number >= 0 and number < 2 ^ 53 and number % 1 == 0 and number or nil
end

-- Calls a command. nil if it fails, because its key holds something else.
local function try(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    return nil
  end
  return answer
end

-- Calls a command with the items of a list from `first` to `last`. `unpack` fails at about 8,000 items.
local function in_chunks(command, key, list, first, last)
  for from = first, last, CHUNK do
    redis.call(command, key, unpack(list, from, math.min(from + CHUNK - 1, last)))
  end
end
