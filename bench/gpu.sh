#!/usr/bin/env bash
# Whether a GPU computes what the CPU does, then how fast: logits, probabilities, and the tokens that are chosen greedily, by seeded
# sampling and in batches, of one random checkpoint on both, and only when they agree the tables, CPU beside GPU. Writes
# bench/results/gpu-<date>.json. Exit code 3 without a GPU or with a driver before 580, 1 where the two disagree or a call fails.
# Usage: bench/gpu.sh BIN_DIR [--models 350M,1.2B --seconds 10 --clients 1,4,16,64]
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 bench/gpu.py "$@"
