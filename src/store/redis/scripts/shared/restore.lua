-- What comes from another store: see restore.rs.

-- Says whether what is given has all changes of what is there. `last` is the nonce of the last change of what is there,
-- and `copied` that with which it came from another store. `nonces` and `given_copied` are those of what is given.
local function has_all_changes(last, copied, nonces, given_copied)
  if last == copied or last == given_copied then
    return true
  end
  for at = 1, #nonces, NONCE_LENGTH do
    if nonces:sub(at, at + NONCE_LENGTH - 1) == last then
      return true
    end
  end
  return false
end
