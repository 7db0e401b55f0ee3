-- Change sets: checked against the values of a record, and written.

-- Takes a change set from ARGV: whether to clear all values first (0 or 1), a list of values to set (field, JSON text),
-- a list of fields to remove, and a list of increments (field, integer, the total that the caller expects).
local function changes_at(first)
  local changes = { clear = ARGV[first] == '1' }
  changes.first_set, changes.last_set = list_at(first + 1, 2)
  changes.first_remove, changes.last_remove = list_at(changes.last_set + 1, 1)
  changes.first_increment, changes.last_increment = list_at(changes.last_remove + 1, 3)
  return changes
end

-- Checks a change set against the values of a record. Changes `state` to the state after the changes. Returns a list of
-- fields and their new values, alternating, and the totals of the increments. In the list, the packed state is empty:
-- `write_changes` fills it in. If the change set is refused, gives nil and the reply.
local function check_changes(record, state, changes, most_keys, most_bytes)
  local keys, bytes, clear = state.keys, state.bytes, changes.clear

  -- A clear leaves the library's own values. Their keys begin with two NUL characters.
  local function stays(field)
    return not clear or field:sub(1, 3) == ':\0\0'
  end
  local function length(field)
    return stays(field) and redis.call('HSTRLEN', record.key, field) or 0
  end

  -- A JSON text is never empty: a length of 0 means that there is no value.
  local function count(field, old_length, new_length)
    if old_length > 0 then
      keys, bytes = keys - 1, bytes - old_length - #field + 1
    end
    if new_length > 0 then
      keys, bytes = keys + 1, bytes + new_length + #field - 1
    end
  end

  if clear then
    changes.cleared, keys, bytes = {}, 0, 0
    for _, field in ipairs(redis.call('HKEYS', record.key)) do
      local is_value = field:sub(1, 1) == ':'
      if is_value and stays(field) then
        count(field, 0, length(field))
      elseif is_value then
        changes.cleared[#changes.cleared + 1] = field
      end
    end
  end
  local writes, totals = { 's', '', nonce_field(record, state) }, {}
  for at = changes.first_set, changes.last_set, 2 do
    local field, json = ARGV[at], ARGV[at + 1]
    count(field, length(field), #json)
    writes[#writes + 1], writes[#writes + 2] = field, json
  end
  for at = changes.first_remove, changes.last_remove do
    count(ARGV[at], length(ARGV[at]), 0)
  end
  for at = changes.first_increment, changes.last_increment, 3 do
    local field, by = ARGV[at], ARGV[at + 1]
    local before = not clear and redis.call('HGET', record.key, field)
    local total = sum(before or '0', by)
    if not total then
      return nil, { nonce, 'not an integer', field }
    end
    count(field, before and #before or 0, #total)
    writes[#writes + 1], writes[#writes + 2], totals[#totals + 1] = field, total, total
  end
  if bytes > math.max(most_bytes, state.bytes) then
    return nil, { nonce, 'too large', bytes }
  elseif keys > math.max(most_keys, state.keys) then
    return nil, { nonce, 'too many keys', keys }
  end
  state.keys, state.bytes = math.max(keys, 0), math.max(bytes, 0)
  state.version, state.nonce = state.version + 1, nonce
  return writes, totals
end

-- Writes a change set: its `writes`, and the packed state. THE FIRST WRITE adds, so a full memory refuses the change.
local function write_changes(record, changes, writes, packed_state)
  local first = 1
  writes[2] = packed_state
  if changes.clear then
    redis.call('HSET', record.key, unpack(writes, 1, 4))
    first = 5
    in_chunks('HDEL', record.key, changes.cleared, 1, #changes.cleared)
  end
  in_chunks('HSET', record.key, writes, first, #writes)
  in_chunks('HDEL', record.key, ARGV, changes.first_remove, changes.last_remove)
end

-- Returns the present values of the fields that a change set increments.
local function present_totals(record, changes)
  local totals = {}
  for at = changes.first_increment, changes.last_increment, 3 do
    totals[#totals + 1] = redis.call('HGET', record.key, ARGV[at]) or ''
  end
  return totals
end
