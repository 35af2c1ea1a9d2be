#!/usr/bin/env bash
# Gets and builds the llama.cpp that the tables compare with, outside the repository, and prints the folder of its programs.
# Its source is what the pinned sdist of llama-cpp-python carries. What is there already is kept. About 10 minutes on 2 cores.
#   LFM2_BENCH_DIR  where to (default: ~/.cache/lfm2-bench)
#   LLAMA_CPP_BIN   a folder with programs that are built already: nothing is fetched
#   LFM2_ISA        avx2, avx512, avx512_bf16: built for that instruction set as if the machine had no better one
set -euo pipefail
programs=(llama-bench llama-quantize llama-server llama-perplexity)

lacks() {
  local program
  for program in "${programs[@]}"; do
    if [ ! -x "$1/$program" ]; then echo "$program"; return; fi
  done
}

if [ -n "${LLAMA_CPP_BIN:-}" ]; then
  missing=$(lacks "$LLAMA_CPP_BIN")
  if [ -n "$missing" ]; then echo "LLAMA_CPP_BIN: there is no $missing in $LLAMA_CPP_BIN" >&2; exit 2; fi
  cd "$LLAMA_CPP_BIN" && pwd
  exit
fi

version=0.3.36
sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
root=${LFM2_BENCH_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lfm2-bench}/llama.cpp-$version
# GCC's _tile_loadconfig reads 8 of the 64 bytes by its own account, so it drops the stores of the others: what it makes of llama.cpp's AMX
# kernels ends with SIGSEGV. Clang has no such fault; where it is not, AMX is left out.
variant=cc options=(-DGGML_NATIVE=ON)
case ${LFM2_ISA:-} in
  avx2 | avx512 | avx512_bf16)
    variant=cc-$LFM2_ISA
    options=(-DGGML_NATIVE=OFF -DGGML_{SSE42,AVX,AVX2,FMA,F16C,BMI2}=ON)
    if [ "$LFM2_ISA" != avx2 ]; then options+=(-DGGML_AVX512{,_VNNI}=ON); fi
    if [ "$LFM2_ISA" = avx512_bf16 ]; then options+=(-DGGML_AVX512_BF16=ON); fi
    ;;
  "" | amx)
    if grep -qw amx_int8 /proc/cpuinfo; then
      if echo 'int main(void) { return 0; }' | clang++ -fopenmp -x c++ -o /dev/null - 2>/dev/null; then
        variant=clang options+=(-DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++)
      else
        variant=cc-no-amx
        options+=(-DCMAKE_C{,XX}_FLAGS="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16")
      fi
      echo "llama.cpp: this machine has AMX; built by: $variant" >&2
    fi
    ;;
  *)
    echo "LFM2_ISA is \"$LFM2_ISA\": llama.cpp is built for avx2, avx512, avx512_bf16 or amx, or without it for this machine" >&2
    exit 2
    ;;
esac
build=$root/build-$variant
bin=$build/bin
if [ -z "$(lacks "$bin")" ]; then echo "$bin"; exit; fi

for tool in cmake ninja python3; do
  command -v "$tool" >/dev/null || { echo "llama.cpp needs $tool to be built" >&2; exit 2; }
done
mkdir -p "$root"
archive=$root/llama_cpp_python-$version.tar.gz
if ! echo "$sha256  $archive" | sha256sum --check --status 2>/dev/null; then
  echo "llama.cpp: fetching its source (llama-cpp-python $version)" >&2
  echo "llama-cpp-python==$version --hash=sha256:$sha256" >"$root/pinned.txt"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --require-hashes \
    --dest "$root" -r "$root/pinned.txt" >&2
  echo "$sha256  $archive" | sha256sum --check --status
fi
source=$root/llama_cpp_python-$version/vendor/llama.cpp
[ -f "$source/CMakeLists.txt" ] || tar -xzf "$archive" -C "$root"
echo "llama.cpp: building it, $variant (log: $build.log)" >&2
{
  cmake -G Ninja -S "$source" -B "$build" "${options[@]}" -DCMAKE_BUILD_TYPE=Release -DGGML_OPENMP=ON -DGGML_LLAMAFILE=ON \
    -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF
  cmake --build "$build" -j "${JOBS:-$(nproc)}" --target "${programs[@]}"
} >"$build.log" 2>&1 || { tail -20 "$build.log" >&2; exit 1; }
echo "$bin"
