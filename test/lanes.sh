#!/usr/bin/env bash
# Runs test lanes one after another and tells at the end how many tests ran in each.
# A lane that failed, or that ran no test, fails the whole. All lanes run in any case.
#   test/lanes.sh lint unit race kube lab e2e
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
summary=() passed=0 failed=0 skipped=0 bad=0

# count LANE PASSED FAILED SKIPPED STATUS
count() {
    local verdict=ok
    if [ "$5" -ne 0 ] || [ "$3" -ne 0 ]; then verdict=FAILED bad=1; fi
    if [ "$2" -eq 0 ]; then verdict="FAILED: no test ran" bad=1; fi
    passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
    summary+=("$(printf '%-5s %5d passed %3d failed %3d skipped %5ds  %s' "$1" "$2" "$3" "$4" "$((SECONDS - began))" "$verdict")")
}

# count_gotestsum LANE STATUS: the last line of what the lane wrote has the numbers.
count_gotestsum() {
    local total=0 fail=0 skip=0 line
    line=$(grep -E '^DONE ' "$log/$1" | tail -n 1)
    [[ $line =~ DONE\ ([0-9]+)\ tests ]] && total=${BASH_REMATCH[1]}
    [[ $line =~ ([0-9]+)\ failure ]] && fail=${BASH_REMATCH[1]}
    [[ $line =~ ([0-9]+)\ skipped ]] && skip=${BASH_REMATCH[1]}
    count "$1" $((total - fail - skip)) "$fail" "$skip" "$2"
}

# go_lane LANE FLAGS...: go test of everything that needs no build tag.
go_lane() {
    local lane=$1
    shift
    make --no-print-directory .cache/bin/gotestsum || return
    .cache/bin/gotestsum --format pkgname --format-hide-empty-pkg -- "$@" ./... 2>&1 | tee "$log/$lane"
    count_gotestsum "$lane" $?
}

# target_lane LANE TARGET: go test of what needs a build tag, as a target of the Makefile has it.
target_lane() {
    make --no-print-directory "$2" 2>&1 | tee "$log/$1"
    count_gotestsum "$1" $?
}

lint_lane() {
    make --no-print-directory lint
    local status=$?
    count lint $((status == 0)) $((status != 0)) 0 $status # one check over the whole tree
}

# lab_lane: each package's run ends with a line of its numbers.
lab_lane() {
    local pass=0 fail=0 skip=0 status line
    make --no-print-directory test-lab 2>&1 | tee "$log/lab"
    status=$?
    while read -r line; do
        [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]] || continue
        pass=$((pass + BASH_REMATCH[1])) fail=$((fail + BASH_REMATCH[2])) skip=$((skip + BASH_REMATCH[3]))
    done <"$log/lab"
    count lab "$pass" "$fail" "$skip" "$status"
}

# The lab's host side is tested in the unit lane, too, where the lab is installed.
case " $* " in *" lab "*) make --no-print-directory deps || exit 1 ;; esac

for lane in "$@"; do
    began=$SECONDS
    echo "== $lane"
    case $lane in
    lint) lint_lane ;;
    unit) go_lane unit ;;
    race) go_lane race -race ;;
    kube) target_lane kube test-kube ;;
    e2e) target_lane e2e e2e ;;
    lab) lab_lane ;;
    *) echo "no lane $lane" >&2; exit 2 ;;
    esac
done
echo
printf '%s\n' "${summary[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
exit $bad
