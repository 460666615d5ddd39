#!/usr/bin/env bash
# Takes random walks on real VFs for a time, in one guest after the other: a walk that fails ends its guest, not the soak.
#   test/soak.sh 2h
# It fails if any walk failed. With SEED or STEPS it replays one walk; SHRINK=1 looks for fewer steps that fail.
set -euo pipefail

for_seconds() { # 1h30m -> 5400
    local rest=$1 sum=0 part
    while [[ $rest =~ ^([0-9]+)([hms])(.*)$ ]]; do
        part=${BASH_REMATCH[1]} rest=${BASH_REMATCH[3]}
        case ${BASH_REMATCH[2]} in h) sum=$((sum + part * 3600)) ;; m) sum=$((sum + part * 60)) ;; s) sum=$((sum + part)) ;; esac
    done
    [ -z "$rest" ] && [ "$sum" -gt 0 ] || { echo "soak: $1 is no time such as 10m or 2h" >&2; return 1; }
    echo "$sum"
}

walk() { # seconds
    bin/lab test -timeout 24h -v -env "BONDKEEPER_SOAK=${1}s" -env "BONDKEEPER_SOAK_SEED=${SEED:-}" \
        -env "BONDKEEPER_SOAK_STEPS=${STEPS:-}" -env "BONDKEEPER_SOAK_SHRINK=${SHRINK:-}" -run 'TestSoak$' ./test/heal
}

total=$(for_seconds "$1")
if [ -n "${SEED:-}${STEPS:-}" ]; then
    walk "$total"
    exit
fi
guests=0 failed=0 start=$SECONDS
while left=$((total - (SECONDS - start))) && [ "$left" -gt 0 ]; do
    guests=$((guests + 1))
    walk "$left" || { failed=$((failed + 1)); [ "$failed" -lt 10 ] || break; }
done
echo "soak: $((SECONDS - start)) s in $guests guests, $failed of them ended by a walk that failed"
[ "$failed" -eq 0 ]
