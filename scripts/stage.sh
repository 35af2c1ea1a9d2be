#!/usr/bin/env bash
# Lays out what runs as it will stand in an image's root. Usage: scripts/stage.sh BIN_DIR PYTHON_DIR STAGE_DIR
# LibTorch's libraries keep the layout of their wheels, because their RUNPATH finds the CUDA runtime beside them.
set -euo pipefail
bin=$1 python=$2 stage=$3
libs=$stage/usr/lib/lfm2d
mkdir -p "$stage/usr/bin" "$libs/bin" "$libs/torch" "$libs/grammar"
cp "$bin"/lfm2d "$bin"/lfm2-worker "$bin"/lfm2ctl "$libs/bin/"
cp "$bin"/liblfm2_spm.so "$bin"/liblfm2_torch.so "$libs/bin/"
if [ -e "$bin/liblfm2_cuda.so" ]; then cp "$bin/liblfm2_cuda.so" "$libs/bin/"; fi
cp "$python/tvm_ffi/lib/libtvm_ffi.so" "$python/xgrammar/libxgrammar_bindings.so" "$libs/grammar/"
mkdir -p "$libs/torch/lib"
for library in "$python"/torch/lib/*.so*; do
  case "$(basename "$library")" in
    libtorch_python*) ;;
    *) cp -P "$library" "$libs/torch/lib/" ;;
  esac
done
cp -r "$python/nvidia" "$libs/nvidia"
find "$libs" -name '*.h' -delete
for program in lfm2d lfm2-worker lfm2ctl; do
  ln -s "../lib/lfm2d/bin/$program" "$stage/usr/bin/$program"
done
