#!/bin/sh
# run_seeds.sh PROGRAM: every seed once through one fuzz target.
set -eu
corpus=$(mktemp -d)
trap 'rm -rf "$corpus"' EXIT
"$(dirname "$0")/make_corpus.sh" "$(basename "$1")" "$corpus"
"$1" -runs=0 -rss_limit_mb=2048 "$corpus"
