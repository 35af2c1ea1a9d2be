#!/usr/bin/env bash
# Perplexity of SmolLM2-135M-Instruct on the licence texts: float32, int8 and int4 of this build beside llama-perplexity's F32,
# Q8_0 and Q4_0, on the same tokens in the same pieces. A quarter of an hour on 2 cores.
# Usage: bench/perplexity.sh BIN_DIR [FLAGS of run.py, as --chunks 20 or --quick]
set -euo pipefail
exec "$(dirname "$0")/run.sh" "$1" --only perplexity "${@:2}"
