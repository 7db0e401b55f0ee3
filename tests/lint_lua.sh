#!/usr/bin/env bash
# Lints the Lua scripts as Redis gets them: each with the prelude in front, but for those that are sent alone.
set -euo pipefail
cd "$(dirname "$0")/.."

prelude=$(find src -name prelude.lua)
scripts=$(find src -name '*.lua' ! -name prelude.lua | sort)
# Only the Rust code says which scripts those are.
if ! alone=$(grep -rho 'Script::alone(include_str!("[^"]*' src | sed 's|.*["/]||'); then
  echo "tests/lint_lua.sh: src has no Script::alone(include_str!(...)) that says which scripts are sent alone" >&2
  exit 1
fi

# Empty lines stand for the prelude in front of a script that is sent alone, so that all lines are counted alike.
as_sent() {
  if grep -qxF "${1##*/}" <<<"$alone"; then sed 's/.*//' "$prelude"; else cat "$prelude"; fi
  echo
  cat "$1"
}

# luacheck exits with 1 for warnings and 2 for errors, which awk counts, and with more if it cannot work.
for script in $scripts; do
  as_sent "$script" | luacheck --codes --formatter plain --filename "$script" - || [ $? -le 2 ]
done |
  # A fault of the prelude is found in every script, and said once. No script needs all of the prelude: what is unused
  # in it (W211) is a fault only if all scripts that have it leave it unused.
  awk -F: -v OFS=: -v prelude="$prelude" -v lines="$(wc -l <"$prelude")" \
    -v joined="$(($(wc -l <<<"$scripts") - $(wc -l <<<"$alone")))" '
    $2 > lines { $2 -= lines + 1; print; failed = 1; next }
    { $1 = prelude; found[$0]++ }
    END {
      for (fault in found) if (found[fault] == joined || fault !~ /W211/) { print fault; failed = 1 }
      exit failed
    }'
