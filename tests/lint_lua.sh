#!/usr/bin/env bash
# Lints the Lua scripts with all that they may get in front: the prelude, and the functions that scripts share. That each
# script gets those that it needs is a test of scripts.rs.
set -euo pipefail
cd "$(dirname "$0")/../src/store/redis"

front=(scripts/shared/quick_update.lua scripts/prelude.lua scripts/shared/{damage,state,record,change,group,trace,integer,group_values,restore,values}.lua)
# scripts.rs says which scripts get nothing in front. Empty lines stand there, so that all lines are counted alike.
alone=$(grep -o '[a-z_]*: [A-Za-z]*, \[\];' scripts.rs | sed 's/:.*//')
as_sent() {
  if grep -qxF "$(basename "$1" .lua)" <<<"$alone"; then sed 's/.*//' "${front[@]}"; else cat "${front[@]}"; fi
  cat "$1"
}

scripts=$(find scripts -maxdepth 1 -name '*.lua' ! -name prelude.lua | sort)
# luacheck exits with 1 for warnings and 2 for errors, which awk counts, and with more if it cannot work.
for script in $scripts; do
  as_sent "$script" | luacheck --config ../../../.luacheckrc --codes --formatter plain --filename "$script" - ||
    [ $? -le 2 ]
done |
  # A fault in front is found in every script, and said once, with its line in all of the front. No script needs all of
  # the front: what is unused there (W211) is a fault only if all scripts leave it unused.
  awk -F: -v OFS=: -v lines="$(cat "${front[@]}" | wc -l)" \
    -v joined="$(($(wc -l <<<"$scripts") - $(wc -l <<<"$alone")))" '
    $2 > lines { $2 -= lines; print; failed = 1; next }
    { $1 = "prelude.lua and shared/*.lua"; found[$0]++ }
    END {
      for (fault in found) if (found[fault] == joined || fault !~ /W211/) { print fault; failed = 1 }
      exit failed
    }'
