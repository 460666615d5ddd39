package link

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// observeRDMA reads where the RDMA devices of VFs in the pod are. Sysfs shows a device in the netns that it belongs to,
// and in each netns if the node shares its devices. That costs two files, while the RDMA subsystem has no request for
// one device without its index.
func (k *Kernel) observeRDMA(pod *conn, r *bond.Record, o *bond.Observed) {
	if pod.sysfs <= 0 {
		return
	}
	for i := range r.Members {
		m, om := &r.Members[i], &o.Members[i]
		if m.PCI != "" && om.Location == bond.InPod {
			om.RDMA = &bond.RDMADevices{InPod: rdmaBelow(pod.sysfs, "bus/pci/devices/"+string(m.PCI)), InHost: k.sysfs.rdmaOf(m.PCI)}
		}
	}
}

// rdmaOf returns the RDMA device of a PCI function in the host's netns; empty if there is none.
func (s sysfs) rdmaOf(dev bond.PCIAddress) string {
	return rdmaBelow(unix.AT_FDCWD, filepath.Join(s.root, string(dev)))
}

// rdmaBelow returns the name of the RDMA device of a PCI function's directory in sysfs; empty if there is none.
func rdmaBelow(dirfd int, function string) string {
	fd, err := unix.Openat(dirfd, function+"/infiniband", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	dir := os.NewFile(uintptr(fd), "infiniband")
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(1)
	if err != nil {
		return ""
	}
	return names[0]
}
