-- The beginning of nearly every script: the layout of the data, and how a script reads its keys and arguments.
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
--   b         absolute timeout began at; only if that is neither j nor c
--   a         ends at the latest; 0 for never
--   i         idle timeout (ms)
--   o         1 if the idle timeout was chosen for this session
--   r         last refreshed at; 0 before the first load, if the session has a shorter life until then
--   k, s      number and size (bytes) of the values
--   n0 to n3  nonces of the last calls that changed it
--   e         version up to which the graces of replaced ids have ended
--   x         generation to which the record belongs
--   p         the version when the record was prepared; only until it is activated: see handover.rs
-- A hash without v is not a record. It may be one of these, or both:
--   A FORWARD, under an id that was replaced. It expires when the id no longer ends the session.
--     f       id that replaced this one
--     u       grace ends at: until then, calls with the old id reach the session
--     m       version of the record after the id was replaced
--   A TRACE, under an id whose session has ended or was handed over.
--     t       nonce of the call that ended it
--     n0 to n3, b, o   of the record that was handed over; here b is always set
--     l       expires at; only if the session was never loaded
--
-- A GROUP is two sorted sets of ids. The members have the expiry as their score. The other set has the same ids, with
-- the time of joining as the score (microseconds since 1970, each time different). Both may hold ids that have expired.
-- A session in a group is alive only while it is a member. One member is not an id: 'generation', whose score is minus
-- the generation. An ENDED SET holds the sessions of a group that one call has ended, until their records are removed.
--
-- A GENERATION is the time when the first session of a namespace was created (microseconds since 1970), in a hash under
-- a key of its own. Records and groups of another generation have ended. So all sessions end when that key is removed.
--   began     generation
--   cleared   all sessions were last ended at (ms): see namespace.rs
--
-- THE FIRST WRITE of a script decides what happens when the memory is full, because Redis checks `maxmemory` only at
-- this write. If the first write adds (HSET, ZADD), Redis refuses it, and the script writes nothing. If the first write
-- removes or sets an expiry (UNLINK, ZREM, PEXPIRE), Redis allows it, and all later writes of the script too. So a
-- script that may be refused begins with a write that adds, and a script that must not be refused begins with another
-- write.
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

-- Reads a list from ARGV: the number of items, and then the items. Each item has `arguments_per_item` arguments (1 if
-- it is not given). Gives the positions of the first and the last argument of the items.
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

-- Reads a number that the library wrote: an integer from 0 to 2^53, the range in which Lua's numbers are exact. Gives
-- nil for anything else, which is damage.
local function read_integer(text)
  local number = tonumber(text)
  return number and number >= 0 and number < 2 ^ 53 and number % 1 == 0 and number or nil
end

-- Calls a command. Gives nil if the command fails, because the key holds a value of another type.
local function call_or_nil(...)
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
