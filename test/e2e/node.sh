#!/usr/bin/env bash
# Makes the lab's guest a Kubernetes node and keeps it one until it is killed: containerd, the reference CNI plugins with
# metaplugin in Multus' place, kubelet. Logs go to the shared directory.
#   node.sh NAME KUBELET-KUBECONFIG PLUGIN-KUBECONFIG IMAGE.tar...
# Run from the top of the repository, in a guest with the user-mode network. All of the node is in memory: a guest that is
# started again is a node that lost all but its name.
set -euo pipefail
name=$1 kubelet=$2 plugin=$3
shift 3
share=/run/lab/share
PATH=$PWD/.cache/kube/bin:$PATH

say() { echo "node: $*" >&2; }

mount --make-rshared /
for dir in /var/lib/containerd /var/lib/kubelet /var/log/pods /opt/cni/bin /etc/cni/net.d /var/lib/cni; do
    mkdir -p $dir
    mount -t tmpfs -o mode=0755 tmpfs $dir
done
sysctl -qw net.ipv4.ip_forward=1
cp bin/cni/* bin/metaplugin /opt/cni/bin/

cat >/etc/cni/net.d/00-metaplugin.conf <<END
{
  "cniVersion": "1.0.0", "name": "cluster", "type": "metaplugin",
  "kubeconfig": "$plugin", "dir": "/var/lib/cni/multus", "bin": "/opt/cni/bin",
  "cluster": {
    "cniVersion": "1.0.0", "name": "cluster", "type": "ptp",
    "ipam": {"type": "host-local", "subnet": "10.88.0.0/24", "dataDir": "/run/cluster-ipam"}
  }
}
END

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
exec kubelet --config /etc/kubelet.yaml --kubeconfig "$kubelet" --hostname-override "$name" --node-ip 10.0.2.15 \
    >"$share/kubelet.log" 2>&1
