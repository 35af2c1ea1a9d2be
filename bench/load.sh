#!/usr/bin/env bash
# The load that the daemon must hold, whole: 2,000 clients at once, 256 streams for ten minutes, 20,000 cancels, slow beside fast readers,
# memory. About half an hour. Writes bench/results/load-<date>.json. Usage: bench/load.sh BIN_DIR
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bench/results
python3 tests/load/load_test.py "$1" "$1/liblfm2_planted_leak.so" --full --out "bench/results/load-$(date -u +%Y%m%dT%H%M%SZ).json"
