-- The values of groups.

-- Writes which calls have changed the values of a group (nonces, newest first), and the packed generation.
local function write_nonces(values, began, nonces)
  local OF_FIELD = 8 * NONCE_LENGTH
  redis.call('HSET', values, 'o', began, 'n0', nonces:sub(1, OF_FIELD), 'n1', nonces:sub(OF_FIELD + 1, 2 * OF_FIELD),
    'n2', nonces:sub(2 * OF_FIELD + 1, 3 * OF_FIELD), 'n3', nonces:sub(3 * OF_FIELD + 1, 4 * OF_FIELD))
end

-- Makes the values of a group expire at this time, or later: when the last of its members expires, or when they do now.
local function expire_values(values, members, at)
  local last = read_integer(redis.call('ZREVRANGE', members, 0, 0, 'WITHSCORES')[2]) or 0
  redis.call('PEXPIREAT', values, math.max(at, last, now + redis.call('PTTL', values)))
end
