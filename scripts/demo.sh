#!/usr/bin/env bash
# The whole loop on this machine: starts the daemon, trains on real text while it answers, generates, exports, proves the
# export equal, stops. Usage: scripts/demo.sh BIN_DIR
set -euo pipefail
bin=$(cd "$1" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/lfm2-demo.XXXXXX")
daemon=""
cleanup() {
  if [ -n "$daemon" ] && kill -TERM "$daemon" 2>/dev/null; then wait "$daemon" || true; fi
  rm -rf "$work"
}
trap cleanup EXIT
step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

step "1. the daemon starts"
"$bin/lfm2d" --listen 127.0.0.1:0 --data_dir "$work/data" --log_level warning >"$work/stdout" 2>"$work/stderr" &
daemon=$!
for _ in $(seq 100); do
  grep -q 'listening on' "$work/stdout" && break
  kill -0 "$daemon" 2>/dev/null || { cat "$work/stderr"; exit 1; }
  sleep 0.1
done
LFM2CTL_SERVER=$(sed -n 's/^listening on //p' "$work/stdout")
export LFM2CTL_SERVER
ctl() { "$bin/lfm2ctl" "$@"; }
ctl health --live

step "2. a fresh hybrid, and a training job on the licence texts of this machine"
cat /usr/share/common-licenses/{GPL-2,GPL-3,LGPL-2.1,Apache-2.0} >"$work/text.txt"
shape=(--arch hybrid --attn_every 2 --parallel_residual --d_model 128 --n_layers 4 --n_heads 4 --n_kv_heads 2)
ctl model init "${shape[@]}" --name fresh
job=$(ctl train start --data_path "$work/text.txt" --init_from fresh --name demo --steps 300 --batch_size 8 --seq_len 128 \
  --lr 2e-3 --schedule cosine --warmup_steps 20 --eval_ratio 0.05 --eval_every 100 --checkpoint_every 100 -o json |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["job"]["id"])')
echo "job $job"

step "3. while it trains: two streams at once, and a third cancelled midway"
ctl generate --model fresh --prompt "GNU GENERAL" --max_new_tokens 64 --temperature 1 --seed 1 >"$work/a" &
a=$!
ctl generate --model fresh --prompt "This License" --max_new_tokens 64 --temperature 1 --seed 2 >"$work/b" &
b=$!
# A script's background jobs ignore SIGINT unless told otherwise.
env --default-signal=INT "$bin/lfm2ctl" generate --model fresh --prompt "Copyright" --max_new_tokens 4000 --ignore_eos --temperature 1 --seed 3 >"$work/c" &
c=$!
for _ in $(seq 1000); do [ -s "$work/c" ] && break; sleep 0.01; done
kill -INT "$c"
wait "$a"
wait "$b"
code=0
wait "$c" || code=$?
echo "stream 1: $(wc -c <"$work/a") bytes, stream 2: $(wc -c <"$work/b") bytes, stream 3: cancelled after $(wc -c <"$work/c") bytes, exit code $code"
[ "$code" -eq 130 ]

step "4. the job, to its end"
ctl train watch "$job"

step "5. the trained model answers at once"
ctl generate --model demo --prompt "  You may " --max_new_tokens 120
echo
ctl health

step "6. exports: NPZ + meta JSON, and a Hugging Face folder"
ctl export --model demo --format npz --out "$work/demo.npz" --meta "$work/demo.json"
ctl export --model demo --format safetensors --out "$work/demo-hf"
ls -l "$work/demo.npz" "$work/demo.json" "$work/demo-hf"

step "7. parity: the live model against both exports"
ctl parity --model demo --tokens 1,2,3,4 --against "$work/demo-hf" -q
ctl parity --model demo --tokens 1,2,3,4 --against "$work/demo.npz" -q
echo "equal"

step "8. the daemon stops"
kill -TERM "$daemon"
wait "$daemon"
daemon=""
echo "done"
