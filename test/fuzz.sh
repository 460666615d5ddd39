#!/usr/bin/env bash
# Fuzzes every target of the repository, one after another: test/fuzz.sh 30s
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: test/fuzz.sh DURATION}
grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' pkg cmd test | sort | while read -r file; do
    grep -oE '^func Fuzz[A-Za-z0-9_]*' "$file" | cut -c6- | while read -r target; do
        echo "== ./$(dirname "$file") $target"
        go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 20x </dev/null
    done
done
