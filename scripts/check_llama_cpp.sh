#!/usr/bin/env bash
# Greedy tokens, token ids and chat prompts of this program against llama.cpp's, on one GGUF file. The exact oracle is
# llama.cpp on the dequantised file with keys and values in float32: there every prompt must give the same tokens. On a
# quantised file llama.cpp rounds the activations of every product to int8, so near ties fall differently; the same is shown
# for llama.cpp against itself, and for files in Q8_0 and Q4_0, where ours rounds activations too. Each prompt that differs
# is shown with the gap between the two best logits at that place on both sides.
#   scripts/check_llama_cpp.sh LLAMA_CPP_BIN [GGUF] [BIN_DIR] [OTHER_LLAMA_CPP_BIN]
# LLAMA_CPP_BIN holds llama-server and llama-quantize. GGUF: what `make model` fetched. BIN_DIR: build/release/bin.
# OTHER_LLAMA_CPP_BIN: the same llama.cpp built for another instruction set, to see how far its own builds agree.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
llama=$(cd "$1" && pwd)
gguf=${2:-$root/.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf}
bin=${3:-$root/build/release/bin}
other=${4:+$(cd "$4" && pwd)}
for needed in "$llama/llama-server" "$llama/llama-quantize" "$bin/lfm2d" "$bin/lfm2ctl" "$gguf" ${other:+"$other/llama-server"}; do
  [ -e "$needed" ] || { echo "there is no $needed" >&2; exit 2; }
done
exec python3 "$root/scripts/check_llama_cpp.py" "$llama" "$gguf" "$bin" ${other:+"$other"}
