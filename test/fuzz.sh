#!/usr/bin/env bash
# Fuzzes every target of the repository, two at a time, and prints how many inputs each tried:
#   test/fuzz.sh DURATION [REGEXP]      DURATION per target; REGEXP selects targets by name
# Inputs that reach new code are kept in .cache/fuzz for the next run. An input that fails a target is written to
# testdata/fuzz in the target's package, where every later go test tries it.
set -euo pipefail
cd "$(dirname "$0")/.."
export FUZZ_TIME=${1:?usage: test/fuzz.sh DURATION [REGEXP]} FUZZ_CACHE=$PWD/.cache/fuzz FUZZ_LOGS
only=${2:-.}
FUZZ_LOGS=$(mktemp -d)
trap 'rm -rf "$FUZZ_LOGS"' EXIT
mkdir -p "$FUZZ_CACHE"

# fuzz PACKAGE TARGET: runs one target of a test program that was built, with one worker.
fuzz() {
    local dir=$1 target=$2 log=$FUZZ_LOGS/$2.log status=0 tried
    (cd "$dir" && nice "$FUZZ_LOGS/${dir//\//+}.test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$FUZZ_TIME" \
        -test.fuzzminimizetime 20x -test.parallel 1 -test.fuzzcachedir "$FUZZ_CACHE/$dir" >"$log" 2>&1 </dev/null) || status=$?
    # The end of the time is no failure, though Go reports it as one if it comes at the wrong moment: no input failed.
    if grep -qE '^ +context deadline exceeded$' "$log" && ! grep -qE 'Failing input|seed corpus|panic' "$log"; then status=0; fi
    tried=$(grep -oE 'execs: [0-9]+' "$log" | tail -n 1 | cut -c8-)
    tried=${tried:-0}
    local verdict=ok
    [ "$tried" -gt 0 ] || verdict=none
    [ "$status" -eq 0 ] || verdict=FAIL
    printf '%-4s ./%-22s %-20s %10s inputs\n' "$verdict" "$dir" "$target" "$tried" | tee -a "$FUZZ_LOGS/results"
    [ "$status" -eq 0 ] || tail -n 40 "$log" | cut -c1-1000
}
export -f fuzz

targets=$(grep -rE '^func Fuzz[A-Z]' --include='*_test.go' pkg cmd test | sed -E 's|/[^/]*:func (Fuzz[A-Za-z0-9_]*).*| \1|' | grep -E " .*($only)" | sort)
# Only this module is instrumented: to compile Kubernetes' client once more would take longer than all targets.
for dir in $(cut -d ' ' -f 1 <<<"$targets" | uniq); do
    go test -c -gcflags='github.com/bondkeeper/bondkeeper/...=-d=libfuzzer' -o "$FUZZ_LOGS/${dir//\//+}.test" "./$dir"
done
xargs -P 2 -L 1 bash -c 'fuzz "$@"' fuzz <<<"$targets"

passed=$(grep -c '^ok' "$FUZZ_LOGS/results" || true) failed=$(grep -c '^FAIL' "$FUZZ_LOGS/results" || true)
skipped=$(grep -c '^none' "$FUZZ_LOGS/results" || true) # the machine was too busy to get further than the seeds
echo "$(awk '{ n += $4 } END { print n }' "$FUZZ_LOGS/results") inputs tried in $((passed + failed + skipped)) fuzz targets"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
