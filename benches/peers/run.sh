#!/usr/bin/env bash
# Compares this library with its peers: builds a small server on each, and runs them by turns against one Redis. Writes
# results.md and chart.svg. Takes about five minutes after the builds. Needs redis-server, node and npm; without node,
# express-session is left out.
#
#   --short   a few seconds, and nothing is written
#   --ours    this library alone, and nothing is written
set -euo pipefail
cd "$(dirname "$0")"
if [[ " $* " == *" --ours "* ]]; then
  cargo build --release --quiet -p compare-peers -p peer-ours
else
  cargo build --release --quiet
  if command -v npm >/dev/null; then (cd express && npm ci --silent --no-audit --no-fund); fi
fi
exec target/release/compare-peers "$@"
