-- Lists the ids of a group's sessions by expiry, a page at a time.
-- KEYS: generation
--       members, order of joining
-- ARGV: nonce
--       expiry to begin at ('' for now)
--       how many ids of this expiry to leave out
--       the most ids to list
-- Reply: 'ok', list of ids, expiry at which the next page begins ('' if this is the last page), how many ids of that
--        expiry the next page has to leave out
local members = KEYS[2]
local from, left_out, most = unpack(ARGV, 2, 4)

if not is_of_generation(members, present_generation()) then
  return { nonce, 'ok', {}, '', 0 }
end
if from == '' then
  from = string.format('%.0f', now)
end
local page = redis.call('ZRANGEBYSCORE', members, from, '+inf', 'WITHSCORES', 'LIMIT', left_out, most)
local ids, next_from, next_left_out = {}, from, left_out
for at = 1, #page, 2 do
  local id, expires_at = page[at], page[at + 1]
  ids[#ids + 1] = id
  if expires_at ~= next_from then
    next_from, next_left_out = expires_at, 0
  end
  next_left_out = next_left_out + 1
end
return { nonce, 'ok', ids, #ids == tonumber(most) and next_from or '', next_left_out }
