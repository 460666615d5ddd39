#!/usr/bin/env bash
# Prints what a node's agent costs with 1, 64 and 256 bonds: its memory, its processor time at rest, and how long it takes
# from its start until it has looked at all of them. Runs in a guest of the lab (make scale). Members are dummy links:
# what a bond costs the agent does not depend on its members' driver. Pods are netns, made by ip.
set -euo pipefail
rest=${1:-60} # seconds at rest that are measured: more than one resync
export CNI_PATH=$PWD/bin:$PWD/bin/cni

# pod N makes a netns with two links and has the plugin bond them.
pod() {
    local ns=pod$1
    ip netns add "$ns"
    ip -n "$ns" -batch - <<END
link add net1 type dummy
link add net2 type dummy
END
    CNI_COMMAND=ADD CNI_CONTAINERID=sandbox$1 CNI_NETNS=/run/netns/$ns CNI_IFNAME=bond0 \
        CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=scale;K8S_POD_NAME=$ns;K8S_POD_UID=uid-$1" \
        bin/bond >/dev/null <<<'{"cniVersion": "1.0.0", "name": "scale", "type": "bond", "mode": "active-backup", "miimon": "100",
            "linksInContainer": true, "links": [{"name": "net1"}, {"name": "net2"}]}'
}

# memory FIELD prints a field of the agent's memory in MiB.
memory() { awk -v f="$1:" '$1 == f { s += $2 } END { printf "%.1f", s / 1024 }' "/proc/$agent/smaps_rollup"; }

# ticks prints the processor time that the agent has used, in hundredths of a second.
ticks() { awk '{ print $14 + $15 }' "/proc/$agent/stat"; }

modprobe -a bonding dummy
printf '%6s %10s %10s %9s %16s %14s\n' bonds 'RSS MiB' 'PSS MiB' threads 'start to all, s' 'CPU at rest, %'
made=0
for bonds in 1 64 256; do
    while [ "$made" -lt "$bonds" ]; do pod $((made += 1)); done
    log=$(mktemp)
    began=$(date +%s%N)
    bin/agent run --listen '' --kubeconfig none --runtime none 2>"$log" &
    agent=$!
    until [ "$(grep -c '"msg":"bond".*Ready' "$log")" -ge "$bonds" ]; do
        kill -0 $agent || { cat "$log"; exit 1; }
        sleep 0.05
    done
    took=$(($(date +%s%N) - began))
    first=$(ticks)
    sleep "$rest"
    printf '%6d %10s %10s %9d %16.1f %14.2f\n' "$bonds" "$(memory Rss)" "$(memory Pss)" "$(find /proc/$agent/task -mindepth 1 -maxdepth 1 | wc -l)" \
        "$(awk -v n=$took 'BEGIN { print n / 1e9 }')" "$(awk -v a="$first" -v b="$(ticks)" -v s="$rest" 'BEGIN { print (b - a) / s }')"
    kill $agent
    wait $agent || true
done
