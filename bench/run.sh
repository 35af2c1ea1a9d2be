#!/usr/bin/env bash
# Throughput of this build on this machine: decode alone and with several callers, and training, of a small model.
# Writes bench/results/<date>.json. Usage: bench/run.sh BIN_DIR
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bench/results
python3 bench/run.py "$1" "bench/results/$(date -u +%Y%m%dT%H%M%SZ).json"
