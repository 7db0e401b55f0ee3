-- Sums of 64-bit integers. Lua's numbers are exact only up to 53 bits.
local BILLION, HIGHEST, LOWEST = 1e9, '9223372036854775807', '9223372036854775808'

-- Splits a 64-bit integer into two numbers: its billions, and its last nine digits. Returns nil if the text is not such
-- an integer.
local function split(text)
  local sign, digits = text:match('^(%-?)(%d+)$')
  if not digits or #digits > 19 or (digits:sub(1, 1) == '0' and text ~= '0') then
    return nil
  elseif #digits == 19 and digits > (sign == '-' and LOWEST or HIGHEST) then
    return nil
  end
  local factor = sign == '-' and -1 or 1
  return factor * (tonumber(digits:sub(1, -10)) or 0), factor * tonumber(digits:sub(-9))
end

-- The sum of two integers, as text. nil if one of the three is not an integer of 64 bits.
local function sum(one, other)
  local high, low = split(one)
  local other_high, other_low = split(other)
  if not high or not other_high then
    return nil
  end
  high, low = high + other_high, low + other_low
  -- Both halves get the same sign.
  local carry = math.floor(low / BILLION)
  high, low = high + carry, low - carry * BILLION
  if high < 0 and low > 0 then
    high, low = high + 1, low - BILLION
  end
  local sign = (high < 0 or low < 0) and '-' or ''
  high, low = math.abs(high), math.abs(low)
  local text = sign .. (high > 0 and string.format('%.0f%09.0f', high, low) or string.format('%.0f', low))
  return split(text) and text
end
