#!/usr/bin/env bash
# Runs test lanes and reports at the end how many tests ran in each. A lane that failed, or that ran no test, fails the
# whole. All lanes run in any case.
#   test/lanes.sh lint race fuzz kube lab kernels virtio e2e
#
# The lanes run in two tracks at once. The guests of the lab (lab, kernels, virtio, e2e) leave much of two cores idle;
# compilers and all other lanes get this rest, at a lower priority, so that they hardly disturb the guests' time. Each
# line of output starts with its lane. The last lines and the failed tests of a lane that failed are repeated at the end.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp -d)
lanes=("$@") tracks=()
trap 'rm -rf "$log"' EXIT
# A track is a process group of its own.
trap 'for pid in "${tracks[@]}"; do kill -TERM -- "-$pid"; done 2>/dev/null; wait; exit 130' INT TERM HUP

# wants LANE...: one of the lanes is asked for.
wants() {
    local lane
    for lane in "$@"; do
        [[ " ${lanes[*]} " != *" $lane "* ]] || return 0
    done
    return 1
}

build() { make --no-print-directory "$@"; }

# run NAME COMMAND...: runs a lane or a preparation; output, status and time are kept.
run() {
    local name=$1 began=$SECONDS status
    shift
    "$@" </dev/null 2>&1 | tee "$log/$name" | sed -u "s/^/$(printf '%-7s' "$name")| /"
    status=${PIPESTATUS[0]}
    echo "$status $((SECONDS - began))" >"$log/$name.end"
    echo "$name: done in $((SECONDS - began)) s, status $status"
}

# go_lane FLAGS...: go test of everything that needs no build tag.
go_lane() { .cache/bin/gotestsum --format pkgname --format-hide-empty-pkg -- -timeout 20m "$@" ./...; }

# These are texts of test/lab.
fault='the emulated machine failed' void='no result: the emulated machine failed twice'

# e2e_lane is repeated once if the node's machine failed, which is no result. A machine that failed at boot was already
# started once more.
e2e_lane() {
    local status attempt
    for attempt in first second; do
        build e2e 2>&1 | tee "$log/e2e.$attempt"
        status=${PIPESTATUS[0]}
        if [ "$status" -eq 0 ] || grep -q "$void" "$log/e2e.$attempt" || ! grep -q "$fault" "$log/e2e.$attempt"; then
            return "$status"
        fi
        [ "$attempt" = second ] || echo "no result: $fault; running the lane once more"
    done
    echo "$void"
    return "$status"
}

# kernels_lane runs the contract on virtual members, and the faults of cards and pods on VFs, on the oldest and the
# newest kernel. make test-kernels runs all.
kernels_lane() {
    local rows='VF_driver|both|sriov|PF_driver|VF_moved_to_the_host|VF_reset|member|bond_|active|addresses|route|impostor_with'
    KERNEL_PKGS="./pkg/link ./test/heal" LAB_FLAGS="-run 'TestContractOnVeth|TestHeals/($rows)'" test/kernels.sh 6.1 newest
}

# virtio_lane runs the faults of VFs and members on cards of virtio-net.
virtio_lane() { build test-lab CARDS=virtio LAB_PKGS=./test/heal LAB_FLAGS="-run 'TestHeals/(VF|both|member)'"; }

# await NAME: waits until another track has run something.
await() { until [ -e "$log/$1.end" ]; do sleep 1; done; }

# guest_track: what boots guests.
guest_track() {
    wants lab kernels virtio e2e || return 0
    run deps build deps
    ! wants lab || run lab build test-lab
    ! wants kernels || run kernels kernels_lane
    ! wants virtio || run virtio virtio_lane
    wants e2e || return 0
    await kube-programs
    run e2e e2e_lane
}

# host_track: what the host runs by itself. The cluster waits for the programs of Kubernetes, so they come first. The
# lab's host side is tested in the unit and race lanes, too, where the lab is installed.
host_track() {
    ! wants lab kernels virtio e2e || renice -n 5 -p "$BASHPID" >/dev/null
    ! wants kube e2e || run kube-programs build kube bin/cni/whereabouts
    ! wants lint || run lint build lint
    ! wants lab kernels virtio e2e || await deps
    ! wants unit || run unit go_lane
    ! wants race || run race go_lane -race
    ! wants fuzz || run fuzz test/fuzz.sh 1s
    ! wants kube || run kube build test-kube
}

# failures LANE: the failed tests of a lane, each with the lines that follow.
failures() {
    grep -sE -A 12 -e '--- FAIL|^=== FAIL|^panic|DATA RACE' "$log/$1" | grep -v -e '--- PASS' >"$log/failures" || return 0
    printf '\n== what failed in %s\n' "$1"
    head -n 80 "$log/failures"
}

# count LANE: adds a lane that has ended to the summary.
passed=0 failed=0 skipped=0 bad=0 summary=()
count() {
    local lane=$1 verdict=ok status=1 took=0 pass=0 fail=0 skip=0 total line
    [ ! -e "$log/$lane.end" ] || read -r status took <"$log/$lane.end"
    case $lane in
    lint) pass=$((status == 0)) fail=$((status != 0)) ;; # one check over the whole tree
    lab | kernels | virtio | fuzz)
        line=$(grep -sE '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log/$lane" | tail -n 1)
        [ -z "$line" ] || read -r pass _ fail _ skip _ <<<"$line"
        ;;
    *) # gotestsum's last line has the numbers
        line=$(grep -sE '^DONE ' "$log/$lane" | tail -n 1)
        [[ $line =~ DONE\ ([0-9]+)\ tests ]] && total=${BASH_REMATCH[1]}
        [[ $line =~ ([0-9]+)\ failure ]] && fail=${BASH_REMATCH[1]}
        [[ $line =~ ([0-9]+)\ skipped ]] && skip=${BASH_REMATCH[1]}
        pass=$((${total:-0} - fail - skip))
        ;;
    esac
    if [ "$status" -ne 0 ] || [ "$fail" -ne 0 ]; then verdict=FAILED; fi
    if [ "$pass" -eq 0 ]; then verdict="FAILED: no test ran"; fi
    if [ "$status" -ne 0 ] && grep -qs "$void" "$log/$lane"; then
        # gotestsum counts the tests of a node whose machine failed.
        [ "$lane" != e2e ] || pass=0 fail=0 skip=0
        [ "$fail" -ne 0 ] || verdict="FAILED: $void"
    fi
    if [ "$verdict" != ok ]; then
        bad=1
        printf '\n== the end of %s\n' "$lane"
        [ ! -e "$log/$lane" ] || tail -n 100 "$log/$lane"
        [[ $verdict == *"$void" ]] || failures "$lane"
    fi
    passed=$((passed + pass)) failed=$((failed + fail)) skipped=$((skipped + skip))
    summary+=("$(printf '%-7s %5d passed %3d failed %3d skipped %5ds  %s' "$lane" "$pass" "$fail" "$skip" "$took" "$verdict")")
}

for lane in "${lanes[@]}"; do
    case $lane in
    lint | unit | race | fuzz | kube | lab | kernels | virtio | e2e) ;;
    *) echo "no lane $lane" >&2; exit 2 ;;
    esac
done

# prepare makes what both tracks need, so that they never build the same file at the same time.
prepare() {
    ! wants lab kernels virtio e2e || build lab-programs || return
    build .cache/bin/gotestsum
}
run prepare prepare
read -r status _ <"$log/prepare.end"
if [ "$status" -eq 0 ]; then
    set -m
    host_track &
    tracks+=($!)
    guest_track &
    tracks+=($!)
    set +m
    wait
fi

for lane in "${lanes[@]}"; do count "$lane"; done
echo
printf '%s\n' "${summary[@]}" "all lanes in $SECONDS s"
echo "$passed passed, $failed failed, $skipped skipped"
exit $bad
