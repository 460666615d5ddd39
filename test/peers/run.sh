#!/usr/bin/env bash
# Runs the tests that need Multus or sriov-cni with the real programs in a directory, and reports each part.
#   run.sh check DIR    exits with an explanation where a program is missing
#   run.sh test DIR     the facts of docs/peers.md, the chains, and the cluster with the thin and the thick Multus
set -uo pipefail
cd "$(dirname "$0")/../.."
verb=$1 dir=${2:-}

check() {
    local missing=() p
    for p in multus multus-daemon multus-shim sriov; do
        [ -n "$dir" ] && [ -f "$dir/$p" ] && [ -x "$dir/$p" ] || missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && return
    cat >&2 <<END
make test-peers PEERS=DIR needs the real programs of two other projects in DIR, as static executables for this machine:
  multus         the thin Multus (github.com/k8snetworkplumbingwg/multus-cni)
  multus-daemon  the thick Multus, and
  multus-shim    what the runtime executes to reach it
  sriov          sriov-cni (github.com/k8snetworkplumbingwg/sriov-cni)
They are not part of this repository; docs/peers.md names the releases that it was written for.
Missing${dir:+ in $dir}: ${missing[*]}
END
    exit 1
}

# part NAME COMMAND... runs one part and remembers how it ended.
summary=() bad=0
part() {
    local name=$1 began=$SECONDS verdict=ok
    shift
    echo "== $name"
    "$@" || { verdict=FAILED bad=1; }
    summary+=("$(printf '%-46s %5ds  %s' "$name" $((SECONDS - began)) "$verdict")")
}

check
[ "$verb" = check ] && exit
dir=$(cd "$dir" && pwd)
export BONDKEEPER_PEERS=$dir
part "facts of Multus, at a real API server" .cache/bin/gotestsum --format standard-verbose -- \
    -tags kube -count 1 -timeout 20m ./test/peers/multus
packages=./test/peers/sriov
[ -d test/chains ] && packages+=" ./test/chains"
for package in ${PEERS_LAB_PKGS:-$packages}; do
    part "$package, in the lab" bin/lab test -timeout 20m -env "BONDKEEPER_PEERS=$dir" "$package"
done
for form in thin thick; do
    part "cluster with the $form Multus" env BONDKEEPER_MULTUS=$form .cache/bin/gotestsum --format standard-verbose -- \
        -tags e2e -count 1 -timeout 45m ${E2E_FLAGS:-} ./test/e2e
done
echo
printf '%s\n' "${summary[@]}"
exit $bad
