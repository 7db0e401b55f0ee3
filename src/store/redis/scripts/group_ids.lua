-- The ids of a group's sessions, a page at a time, by expiry.
-- KEYS: generation, the group's two. ARGV: nonce, the expiry to begin at ('' now), how many of that to leave out, how
-- many ids to answer with. Says with which expiry the next page begins, and how many of that to leave out then; '' if
-- there is no more.
local from, left_out, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not is_of(KEYS[2], generation()) then
  return { nonce, 'ok', {}, '', 0 }
end
if from == '' then
  from = string.format('%.0f', now_ms())
end
local page = redis.call('ZRANGEBYSCORE', KEYS[2], from, '+inf', 'WITHSCORES', 'LIMIT', left_out, most)
local ids, next_from, next_left_out = {}, from, left_out
for at = 1, #page, 2 do
  ids[#ids + 1] = page[at]
  if page[at + 1] ~= next_from then
    next_from, next_left_out = page[at + 1], 0
  end
  next_left_out = next_left_out + 1
end
return { nonce, 'ok', ids, #ids == most and next_from or '', next_left_out }
