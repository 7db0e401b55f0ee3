-- The scripts run inside Redis, whose Lua is 5.1. tests/lint_lua.sh joins each with the prelude first.
std = 'lua51'
read_globals = { 'bit', 'redis', 'struct', 'KEYS', 'ARGV' }
max_line_length = 120
