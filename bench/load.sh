#!/usr/bin/env bash
# The load that the daemon must hold, whole: 2,000 clients at once, 256 streams for ten minutes, 20,000 cancels, slow beside fast readers,
# memory. About half an hour. Writes bench/results/load-<date>.json, figures past their bounds included.
#   bench/load.sh BIN_DIR [TEST...]    burst, churn, cancels, readers, memory; all
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(cd "$1" && pwd)
for needed in lfm2d lfm2_load liblfm2_planted_leak.so; do
  [ -e "$bin/$needed" ] || { echo "there is no $needed in $bin: cmake --build --preset release" >&2; exit 2; }
done
mkdir -p bench/results
out=bench/results/load-$(date -u +%Y%m%dT%H%M%SZ).json
status=0
python3 tests/load/load_test.py "$bin" "$bin/liblfm2_planted_leak.so" --full --out "$out" "${@:2}" || status=$?
echo "$out"
exit $status
