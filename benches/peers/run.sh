#!/usr/bin/env bash
# Builds and compares all servers: see README.md. `--short` only checks that nothing is broken.
set -euo pipefail
cd "$(dirname "$0")"
exec cargo run --release --package peers -- "$@"
