#!/usr/bin/env bash
# The whole check: formatting, lints, docs, a minute of fuzzing, all tests. Installs what is missing (Debian).
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
command -v luacheck >/dev/null || missing+=(lua-check)
command -v chromium >/dev/null || missing+=(chromium)
command -v chromedriver >/dev/null || missing+=(chromium-driver)
command -v busybox >/dev/null || missing+=(busybox)
if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]}: install it with your system's package manager (Redis 6.2 or later)" >&2
    exit 1
  fi
  as_root=$([ "$(id -u)" = 0 ] || echo sudo)
  $as_root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

cargo fmt --all --check
cargo fmt --check --manifest-path fuzz/Cargo.toml
(cd benches/peers && cargo fmt --check)
bash tests/lint_lua.sh

# A minute by the clock, so it runs beside the lints. fuzz/README.md says how to try a failing input again.
cargo build --manifest-path fuzz/Cargo.toml --target-dir target/fuzz
target/fuzz/debug/fuzz 60 >target/fuzz/log 2>&1 &
fuzzing=$!

cargo clippy --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --all-targets -- -D warnings
cargo clippy --workspace --all-features --all-targets -- -D warnings
# As the README runs them.
cargo clippy -p examples -- -D warnings
cargo clippy -p multi-process-session --no-default-features --all-targets -- -D warnings
for feature in redis tls sqlite tiny_http http seal contract test-util cli; do
  cargo clippy -p multi-process-session --no-default-features --features "$feature" --all-targets -- -D warnings
done
# What needs a feature that is not built in has to say so.
cargo test -p multi-process-session --no-default-features --lib
RUSTDOCFLAGS="-D warnings" cargo doc --all-features --no-deps

fuzzed=0
wait "$fuzzing" || fuzzed=$?
cat target/fuzz/log
[ "$fuzzed" = 0 ]

# Licences and duplicates, and the advisories where they can be fetched.
if command -v cargo-deny >/dev/null; then
  cargo deny check bans licenses sources
  if cargo deny fetch db; then
    cargo deny check advisories
  else
    echo "the advisories cannot be fetched: they are not checked" >&2
  fi
else
  echo "cargo-deny is not installed: licences, duplicates and advisories are not checked" >&2
fi

# Each bench once, and shortly, so that none is broken unnoticed. Of the peers, only what is ours is built here.
(cd benches/peers && cargo clippy -p peers -p server-tiny_http --all-targets --target-dir ../../target/peers -- -D warnings)
cargo test --all-features --bench '*'
bash benches/peers/run.sh --short --ours
cargo test --workspace --all-features
