-- Groups: their members, and their limit.

local GENERATION = 'generation'
-- BATCH is the most sessions of a group that one script ends or removes one by one. LARGEST_LIMIT is the largest limit
-- that one script can enforce on a group of any size.
local BATCH, LARGEST_LIMIT = 500, 1000

-- Says whether a group belongs to this generation. If it does not, all its sessions have ended.
local function is_of_generation(members, of_generation)
  local mark = of_generation and redis.call('ZSCORE', members, GENERATION)
  return mark and tonumber(mark) == -of_generation
end

-- Removes ids from the group of a record.
local function remove_members(record, ids)
  in_chunks('ZREM', record.members, ids, 1, #ids)
  in_chunks('ZREM', record.joined, ids, 1, #ids)
end

-- Takes a record out of its group. If the group is empty then, removes the group.
local function leave_group(record)
  if record.members then
    remove_members(record, { record.id })
    if redis.call('ZCARD', record.members) == 1 and redis.call('ZSCORE', record.members, GENERATION) then
      redis.call('UNLINK', record.members, record.joined)
    end
  end
end

-- Ends all sessions of a group but the record's and the latest others, up to the limit. The number of sessions that end
-- does not matter: the members become the ended set, and the sessions that stay form a new group. If it finds fewer
-- sessions than the limit, it changes nothing and returns false.
local function keep_latest(record, limit, ended_set)
  local is_kept, kept = { [record.id] = true }, { record.id }
  local function collect(ids)
    for _, id in ipairs(ids) do
      local expires_at = #kept < limit and not is_kept[id] and redis.call('ZSCORE', record.members, id)
      if expires_at and tonumber(expires_at) >= now then
        is_kept[id], kept[#kept + 1] = true, id
      end
    end
  end
  collect(redis.call('ZREVRANGE', record.joined, 0, 2 * LARGEST_LIMIT))
  collect(redis.call('ZREVRANGE', record.members, 0, 2 * LARGEST_LIMIT)) -- Redis may have evicted the order of joining.
  if #kept < limit then
    return false
  end
  local members, joined = { redis.call('ZSCORE', record.members, GENERATION), GENERATION }, {}
  for _, id in ipairs(kept) do
    members[#members + 1], members[#members + 2] = redis.call('ZSCORE', record.members, id), id
    joined[#joined + 1], joined[#joined + 2] = redis.call('ZSCORE', record.joined, id) or 0, id
  end
  redis.call('RENAME', record.members, ended_set.key)
  redis.call('UNLINK', record.joined)
  in_chunks('ZADD', record.members, members, 1, #members)
  in_chunks('ZADD', record.joined, joined, 1, #joined)
  redis.call('ZREM', ended_set.key, GENERATION)
  in_chunks('ZREM', ended_set.key, kept, 1, #kept)
  redis.call('PEXPIRE', ended_set.key, ended_set.lifetime)
  expire_with_members(record, now)
  return true
end

-- Says whether the live sessions of a group and its reserved places reach its limit. Those of the id `own_id` do not
-- count.
local function is_full(record, limit, own_id)
  local function number(set)
    local own = tonumber(redis.call('ZSCORE', set, own_id) or 0) >= now and 1 or 0
    return redis.call('ZCOUNT', set, now, '+inf') - own
  end
  local live = is_of_generation(record.members, present_generation()) and number(record.members) or 0
  return live + number(record.reserved) >= limit
end

-- Gives up to BATCH ids of sessions that were alive at this time (ms), and that a call has ended.
local function ended_ids(ended_set_key, alive_at)
  return redis.call('ZRANGEBYSCORE', ended_set_key, alive_at, '+inf', 'LIMIT', 0, BATCH)
end

-- Ends the sessions that joined first, until the group of the record has no more than `limit`. The record's own session
-- stays. The ended set gets those that have ended, for sweep.lua, and for a repeated call. Returns up to BATCH of their
-- ids. The second result is 1 if more sessions have to end: then the limit is above LARGEST_LIMIT, and more than BATCH
-- sessions are over it.
local function enforce_limit(record, limit, ended_set)
  local live, gone, scores = {}, {}, {}
  local excess = redis.call('ZCOUNT', record.members, now, '+inf') - limit
  if excess <= 0 then
    return {}, 0
  end
  local function collect(ids, only_those_without_order)
    for _, id in ipairs(ids) do
      local expires_at = redis.call('ZSCORE', record.members, id)
      if not expires_at or tonumber(expires_at) < now then
        gone[#gone + 1] = id
      elseif #live < excess and id ~= record.id
        and not (only_those_without_order and redis.call('ZSCORE', record.joined, id)) then
        live[#live + 1] = id
        scores[#scores + 1], scores[#scores + 2] = expires_at, id
      end
    end
  end
  if excess <= BATCH or limit > LARGEST_LIMIT then
    if redis.call('ZCARD', record.members) - 1 > redis.call('ZCARD', record.joined) then
      -- Redis has evicted the order of joining. A session that is missing in it counts as one that joined first.
      collect(redis.call('ZRANGEBYSCORE', record.members, now, '+inf', 'LIMIT', 0, BATCH), true)
    end
    if #live < math.min(excess, BATCH) then
      collect(redis.call('ZRANGE', record.joined, 0, BATCH))
    end
  end
  if #live < excess and limit <= LARGEST_LIMIT and keep_latest(record, limit, ended_set) then
    return ended_ids(ended_set.key, now), 0
  end
  remove_members(record, gone)
  remove_members(record, live)
  if #live > 0 then
    in_chunks('ZADD', ended_set.key, scores, 1, #scores)
    redis.call('PEXPIRE', ended_set.key, ended_set.lifetime)
  end
  return live, #live < excess and #live + #gone > 0 and 1 or 0
end

-- Adds a record to its group, and then enforces the limit (nil for none). The results are those of `enforce_limit`.
local function join(record, state, limit, ended_set)
  if not is_of_generation(record.members, state.generation) then
    redis.call('UNLINK', record.members, record.joined)
    redis.call('ZADD', record.members, -state.generation, GENERATION)
  end
  local past = string.format('(%.0f', now)
  remove_members(record, redis.call('ZRANGEBYSCORE', record.members, 0, past, 'LIMIT', 0, BATCH))
  -- Each session of a group gets a different time of joining, even if the clock was put back.
  local last = read_integer(redis.call('ZREVRANGE', record.joined, 0, 0, 'WITHSCORES')[2]) or 0
  redis.call('ZADD', record.joined, string.format('%.0f', math.max(now_us, last + 1)), record.id)
  expire(record, state)
  if not limit then
    return {}, 0
  end
  return enforce_limit(record, limit, ended_set)
end
