#!/bin/sh
# make_corpus.sh TARGET DIR: puts the small goldens that TARGET understands into DIR as seeds.
set -eu
goldens=$(cd "$(dirname "$0")/../goldens" && pwd)
target=$1
out=$2
mkdir -p "$out"
seed() {
  for file in "$@"; do
    [ -f "$file" ] || continue
    # Larger seeds only slow the mutations down.
    if [ "$(wc -c <"$file")" -le 1048576 ]; then
      cp "$file" "$out/$(echo "${file#"$goldens"/}" | tr / _)"
    fi
  done
}
# members SUFFIX ZIP...: the members of zips whose names end with SUFFIX.
members() {
  suffix=$1
  shift
  python3 - "$out" "$suffix" "$@" <<'PYTHON'
import pathlib, sys, zipfile
out, suffix, *files = sys.argv[1:]
for file in filter(zipfile.is_zipfile, files):
    with zipfile.ZipFile(file) as zip:
        for name in zip.namelist():
            if name.endswith(suffix) and zip.getinfo(name).file_size < 65536:
                stem = pathlib.Path(file).stem + "_" + name.replace("/", "_")
                (pathlib.Path(out) / stem).write_bytes(zip.read(name))
PYTHON
}
case $target in
  json_config_fuzz) seed "$goldens"/*/config.json "$goldens"/*/generation_config.json ;;
  safetensors_fuzz)
    seed "$goldens"/formats/*.safetensors
    head -c 4096 "$goldens"/lfm2-tiny/model.safetensors >"$out/tiny_head"
    ;;
  npz_fuzz)
    seed "$goldens"/formats/*.npz
    members .npy "$goldens"/formats/*.npz
    ;;
  torch_pt_fuzz)
    seed "$goldens"/formats/*.pt
    members data.pkl "$goldens"/formats/*.pt
    ;;
  dataset_fuzz) seed "$goldens"/*/tokenizer_golden.jsonl ;;
  gguf_fuzz | gguf_tokenizer_fuzz) seed "$goldens"/formats/lfm2-small.gguf "$goldens"/formats/llama-tiny.gguf ;;
  tool_calls_fuzz)
    python3 - "$out" "$goldens"/tool_calls/tool_calls.jsonl <<'PYTHON'
import json, pathlib, sys
for i, line in enumerate(open(sys.argv[2], encoding="utf-8")):
    (pathlib.Path(sys.argv[1]) / f"call_{i}").write_bytes(json.loads(line)["text"].encode("utf-8", "surrogatepass"))
PYTHON
    ;;
  *) seed "$goldens"/*/tokenizer.json "$goldens"/*/tokenizer_config.json ;;
esac
# Inputs that once crashed a target.
if [ -d "$(dirname "$0")/regressions/$target" ]; then
  cp "$(dirname "$0")/regressions/$target"/* "$out"/
fi
