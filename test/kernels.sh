#!/usr/bin/env bash
# Runs the main lab suites on one kernel after the other, and prints a table: kernel, suite, results.
#   test/kernels.sh 6.1 6.12 newest
# KERNEL_PKGS are the suites, LAB_FLAGS the flags of bin/lab test. A suite that ran no test fails, as in make test. The
# last line has the total, as the lab's own.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
packages=${KERNEL_PKGS:-./pkg/link ./test/heal ./cmd/cni ./pkg/watch ./test/chains}
table=$log/table failed=0
for kernel in "$@"; do
    echo "== kernel $kernel"
    make --no-print-directory test-lab KERNEL="$kernel" LAB_PKGS="$packages" 2>&1 | tee "$log/out"
    [ "${PIPESTATUS[0]}" -eq 0 ] || failed=1
    release=$(sed -n 's/.*: Linux \([^ ]*\) is up.*/\1/p' "$log/out" | head -n 1)
    # A package ends with, for example: ok github.com/bondkeeper/bondkeeper/pkg/link  402 passed, 0 failed, 16 skipped  (301.5 s)
    sed -n "s#^\(ok\|FAIL\|VOID\)  *github.com/bondkeeper/bondkeeper/\([^ ]*\)  *\(.*\)#${release:-$kernel} \2 \1 \3#p" "$log/out" >>"$table"
done
printf '%-22s %-16s %-5s %s\n' kernel suite '' result
awk '{ k = $1; s = $2; v = $3; $1 = $2 = $3 = ""; sub(/^ +/, ""); printf "%-22s %-16s %-5s %s\n", k, s, v, $0 }' "$table"
awk '{ p += $4; f += $6; s += $8 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s }' "$table"
[ "$failed" -eq 0 ] && [ "$(wc -l <"$table")" -eq $(($# * $(wc -w <<<"$packages"))) ]
