#!/usr/bin/env bash
# Speed of this build beside llama.cpp's on this machine, as tables; writes bench/results/<date>.json and .md. Gets and builds
# llama.cpp and makes random checkpoints first, both outside the repository (bench/llama_cpp.sh, bench/models.py). An hour and
# a half on 2 quiet cores, and 10 GB of disk.
#   bench/run.sh BIN_DIR [--only decode,prefill --models 350M --weights int8 --rounds 1 --quick --remove ...; --help has all]
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(cd "$1" && pwd)
for needed in lfm2d lfm2ctl lfm2_engine_bench lfm2_kernels_bench lfm2_load; do
  [ -x "$bin/$needed" ] || { echo "there is no $needed in $bin: make bench builds it" >&2; exit 2; }
done
llama=$(bench/llama_cpp.sh)
exec python3 bench/run.py "$bin" "$llama" "${@:2}"
