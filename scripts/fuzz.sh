#!/usr/bin/env bash
# Runs every fuzz target for so many seconds, with the goldens it understands as seeds. Usage: scripts/fuzz.sh BUILD_DIR SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 seconds=$2
found=0
for target in "$build"/bin/*_fuzz; do
  name=$(basename "$target")
  corpus=$build/corpus/$name
  tests/fuzz/make_corpus.sh "$name" "$corpus"
  echo "fuzz: $name, $seconds s"
  "$target" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=4096 -timeout=20 -print_final_stats=1 "$corpus" \
    >"$build/$name.log" 2>&1 || { tail -40 "$build/$name.log"; exit 1; }
  grep -E 'stat::number_of_executed_units' "$build/$name.log" | sed "s/^/  /"
  found=$((found + 1))
done
[ "$found" -gt 0 ] || { echo "fuzz: no target in $build/bin"; exit 1; }
echo "fuzz: $found targets, no crash"
