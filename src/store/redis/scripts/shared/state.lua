-- The state of a record, packed into one field.

-- The state has 58 bytes. Redis keeps a hash compact only if its values have at most 64 bytes.
--   version, flags, number and size (bytes) of the values
--   created at, last refreshed at (0 before the first load, if the session has a shorter life until then), expires at,
--   ends at the latest (0 for never), idle timeout (ms)
--   generation to which the record belongs, nonce of the last call that changed it
local STATE, STATE_LENGTH = '>I5BI3I4I6I6I6I6I6I7c8', 58
-- The flags: 1 if the idle timeout was chosen for this session, 2 if its cookie outlives the browser, 4 if its cookie
-- does not. Without 2 and 4, the settings decide about the cookie.
local OWN_IDLE_TIMEOUT = 1

-- Takes a packed state apart. It has to be of the right length.
local function unpack_state(packed)
  local state = { packed = packed }
  state.version, state.flags, state.keys, state.bytes, state.created_at, state.refreshed_at, state.expires_at,
    state.ends_at, state.idle_timeout, state.generation, state.nonce = struct.unpack(STATE, packed)
  return state
end

-- Packs a state.
local function pack_state(state)
  return struct.pack(STATE, state.version, state.flags, state.keys, state.bytes, state.created_at, state.refreshed_at,
    state.expires_at, state.ends_at, state.idle_timeout, state.generation, state.nonce)
end

-- Packs a state of which only the version, the size and the nonce have changed since it was unpacked. The life stays as
-- it is stored, even if the timeouts of the call are stricter.
local function repack_state(state)
  return struct.pack('>I5BI3I4', state.version, state.flags, state.keys, state.bytes) .. state.packed:sub(14, -9)
    .. state.nonce
end
