-- Reads a hash, for calls whose plain commands a moving slot has broken up. A key of another type counts as missing.
-- KEYS: hash
-- ARGV: nonce
-- Reply: 'ok', fields and values by turns
return { nonce, 'ok', call_or_nil('HGETALL', KEYS[1]) or {} }
