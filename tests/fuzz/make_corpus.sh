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
  grammar_fuzz)
    i=0
    # The first character chooses the kind: its code modulo 3.
    for text in \
      '0{"type":"object","properties":{"a":{"type":"string","maxLength":8,"pattern":"^a+$"},"b":{"type":"integer","minimum":0}},"required":["a"]}' \
      '0{"type":"array","items":{"enum":["x","\u00e9",1.5,null]},"minItems":1,"maxItems":3}' \
      '0{"$ref":"#/$defs/n","$defs":{"n":{"type":"array","items":{"$ref":"#/$defs/n"}}}}' \
      '0{"anyOf":[{"type":"null"},{"type":"number","exclusiveMaximum":-1.5},{"const":{"k":[]}}],"additionalProperties":{"format":"date-time"}}' \
      '1(ab)?((a|b|[^cd])*x?){3}[a-z ]{9,10}\d+\.(?:é|\x41)' '1[a-zA-Z_]\w*(?=x)|^$' \
      '2root ::= r1 r2* | "x" [a-z]{1,20}
r1 ::= "a" r1 | ""
r2 ::= ("b" | r1){2,5} [^\n"]+' '2root ::= (=("a")) "a" /* no */ | root2
root2 ::= TagDispatch(("tag", root))'; do
      printf '%s' "$text" >"$out/grammar_$i"
      i=$((i + 1))
    done
    ;;
  *) seed "$goldens"/*/tokenizer.json "$goldens"/*/tokenizer_config.json ;;
esac
# Inputs that once crashed a target.
if [ -d "$(dirname "$0")/regressions/$target" ]; then
  cp "$(dirname "$0")/regressions/$target"/* "$out"/
fi
