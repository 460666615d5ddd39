#!/usr/bin/env bash
# Makes the lab's guest a Kubernetes node and keeps it one until it is killed: containerd, the reference CNI plugins,
# whereabouts, Multus and sriov-cni or their stand-ins, kubelet. Logs go to the shared directory, from which credentials come.
#   node.sh NAME API-SERVER PEERS-DIR stand-in|thin|thick IMAGE.tar...
# Run from the top of the repository, in a guest with the user-mode network. All of the node is in memory: a guest that is
# started again is a node that lost all but its name.
set -euo pipefail
name=$1 api=${2#https://} peers=$3 multus=$4
shift 4
share=/run/lab/share
PATH=$PWD/.cache/kube/bin:$PATH

say() { echo "node: $*" >&2; }

mount --make-rshared /
for dir in /var/lib/containerd /var/lib/kubelet /var/log/pods /opt/cni/bin /etc/cni/net.d /var/lib/cni; do
    mkdir -p $dir
    mount -t tmpfs -o mode=0755 tmpfs $dir
done
sysctl -qw net.ipv4.ip_forward=1
cp bin/cni/* "$peers/sriov" /opt/cni/bin/
mkdir /etc/cni/net.d/whereabouts.d
cat >/etc/cni/net.d/whereabouts.d/whereabouts.conf <<END
{"datastore": "kubernetes", "kubernetes": {"kubeconfig": "$share/admin.kubeconfig"}}
END

# The cluster network gives pods a default route, as those of real clusters do.
cluster='{"cniVersion": "1.0.0", "name": "cluster", "type": "ptp",
  "ipam": {"type": "host-local", "subnet": "10.88.0.0/24", "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cluster-ipam"}}'
logging="\"logLevel\": \"debug\", \"logFile\": \"$share/multus.log\""

# thin_multus is executed by containerd, like the stand-in, which reads the same config.
thin_multus() {
    cp "$peers/multus" /opt/cni/bin/
    cat >/etc/cni/net.d/00-multus.conf <<END
{"cniVersion": "1.0.0", "name": "multus", "type": "multus", $logging, "kubeconfig": "$share/admin.kubeconfig", "delegates": [$cluster]}
END
}

# thick_multus is a daemon, which finds the cluster network's config, and the shim that containerd executes. The daemon
# takes its credentials from where a pod has them.
thick_multus() {
    local account=/var/run/secrets/kubernetes.io/serviceaccount
    cp "$peers/multus-shim" /opt/cni/bin/
    mkdir -p $account /etc/cni/net.d/multus.d
    cp "$share/token" "$share/ca.crt" $account
    echo "$cluster" >/etc/cni/net.d/10-cluster.conf
    cat >/etc/cni/net.d/multus.d/daemon-config.json <<END
{"cniVersion": "1.0.0", $logging, "cniConfigDir": "/etc/cni/net.d", "multusAutoconfigDir": "/etc/cni/net.d",
 "multusConfigFile": "auto", "socketDir": "/run/multus"}
END
    KUBERNETES_SERVICE_HOST=${api%:*} KUBERNETES_SERVICE_PORT=${api#*:} MULTUS_NODE_NAME=$name \
        "$peers/multus-daemon" -config /etc/cni/net.d/multus.d/daemon-config.json >"$share/multus-daemon.log" 2>&1 &
    until ls /etc/cni/net.d/00-multus.conf* >/dev/null 2>&1; do
        kill -0 $! 2>/dev/null || { say "multus-daemon ended:"; tail "$share/multus-daemon.log" >&2; exit 1; }
        sleep 0.2
    done
}

case $multus in
stand-in | thin) thin_multus ;;
thick) thick_multus ;;
*) say "no Multus $multus"; exit 2 ;;
esac

mkdir -p /etc/containerd
cat >/etc/containerd/config.toml <<END
version = 3
disabled_plugins = ["io.containerd.nri.v1.nri"]
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "bondkeeper.test/pause:1"
END

cat >/etc/kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
enforceNodeAllocatable: []
evictionHard: {memory.available: 1Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
failSwapOn: false
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
nodeStatusUpdateFrequency: 5s
readOnlyPort: 0
resolvConf: ""
END

containerd >"$share/containerd.log" 2>&1 &
until ctr version >/dev/null 2>&1; do
    kill -0 $! 2>/dev/null || { say "containerd ended:"; tail "$share/containerd.log" >&2; exit 1; }
    sleep 0.2
done
for image in "$@"; do
    ctr -n k8s.io images import "$image" >/dev/null
done
say "containerd is up with $(ctr -n k8s.io images ls -q | grep -vc sha256) images"
exec kubelet --config /etc/kubelet.yaml --kubeconfig "$share/kubelet.kubeconfig" --hostname-override "$name" --node-ip 10.0.2.15 \
    >"$share/kubelet.log" 2>&1
