-- The beginning of nearly every script: the layout of the data, the nonce of the call, and the time.
--
-- A script takes its KEYS and ARGV apart at its top, in order, into names. The first argument is the nonce of the call.
-- Every reply begins with this nonce and a status.
--
-- A RECORD is a hash. It has the values under ":key" as JSON text, and the library's own fields. Times are milliseconds
-- since 1970. The key expires when the session does.
--   s         the state, packed: see state.lua
--   n0 to n3  nonces of earlier calls that changed it; the latest nonce is in s
--   g         only in a group: when it joined, packed as 6 bytes, and then the name of the group
--   b         absolute timeout began at; only if that is neither when it joined nor when it was created
--   e         a version: the graces of ids that were replaced in it or before have ended
--   c         only of a record that was copied from another store: nonce of its last change at that time
--   p         the version when the record was prepared; only until it is activated: see handover.rs
-- A hash without s is not a record. It may be one of these, or both:
--   A FORWARD, under an id that was replaced. It expires when the id no longer ends the session.
--     f       id that replaced this one
--     u       grace ends at: until then, calls with the old id reach the session
--     m       version in which the id was replaced
--   A TRACE, under an id whose session has ended or was handed over.
--     t       nonce of the call that ended it
--     r       reason of the end, a letter: see end_reason.rs
--     n0 to n3, b   of the record that was handed over; here b is always set
--     l       expires at; only if the session was never loaded
--
-- A GROUP is two sorted sets of ids. The members have the expiry as their score. The other set has the same ids, with
-- the time of joining as the score (microseconds since 1970, each time different). Both may hold ids that have expired.
-- A session in a group is alive only while it is a member. One member is not an id: 'generation', whose score is minus
-- the generation. An ENDED SET holds the sessions of a group that one call has ended, until their records are removed.
-- The RESERVED PLACES of a group are a sorted set: ids that logins have prepared, by expiry (see handover_prepare.lua).
-- The VALUES of a group are a hash. It expires when the member that expires last does, or later.
--   ":key"    value, as JSON text
--   o         generation of the namespace, packed as 7 bytes: values of another generation do not count
--   n0 to n3  nonces of the last 32 calls that changed it, newest first, eight in each field
--   c         as in a record
--
-- A GENERATION is the time when the first session of a namespace was created (microseconds since 1970), in a hash under
-- a key of its own. Records and groups of another generation have ended. So all sessions end when that key is removed.
--   began     generation, packed as 7 bytes
--   cleared   all sessions were last ended at (ms): see namespace.rs
--
-- THE FIRST WRITE of a script decides what happens when the memory is full, because Redis checks `maxmemory` only at
-- this write. If the first write adds (HSET, ZADD), Redis refuses it, and the script writes nothing. If the first write
-- removes or sets an expiry (UNLINK, ZREM, PEXPIRE), Redis allows it, and all later writes of the script too. So a
-- script that may be refused begins with a write that adds, and a script that must not be refused begins with another
-- write.
--
-- Redis creates every function of a script anew at each run, and each call of a command costs about as much as ten
-- lines of Lua. So scripts that run for each request have few functions, and read what they need in one call.
local KEYS, ARGV = KEYS, ARGV -- Locals are faster than globals.
local CHUNK, NONCE_LENGTH, ID_LENGTH = 1000, 8, 24

local nonce = ARGV[1]
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)

-- Reads a number that the library wrote: an integer from 0 to 2^53, the range in which Lua's numbers are exact. Gives
-- nil for anything else, which is damage.
local function read_integer(text)
  local number = tonumber(text)
  return number and number >= 0 and number < 2 ^ 53 and number % 1 == 0 and number or nil
end

-- Takes a list from ARGV: the number of its items at `first`, and then the items, each of so many arguments. Returns
-- the positions of the first and the last argument of the items.
local function list_at(first, arguments_per_item)
  return first + 1, first + ARGV[first] * arguments_per_item
end

-- Calls a command with the items from `first` to `last`, at most CHUNK at a time: `unpack` fails at about 8,000 items.
local function in_chunks(command, key, list, first, last)
  for from = first, last, CHUNK do
    redis.call(command, key, unpack(list, from, math.min(from + CHUNK - 1, last)))
  end
end
