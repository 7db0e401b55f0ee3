-- Reads keys that may hold a value of another type.

-- Calls a command. Returns nil if the command fails, because the key holds a value of another type.
local function call_or_nil(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    return nil
  end
  return answer
end
