package topology

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bondkeeper/bondkeeper/pkg/virtiopci"
)

// Paths in the guest.
const (
	// Dir contains the lab's own files in the guest.
	Dir = "/run/lab"
	// File holds the topology as JSON.
	File = Dir + "/topology.json"
	// ShareDir is the directory that guest and host share; both can write in it.
	ShareDir = Dir + "/share"
	// UserNetName is the guest's interface in QEMU's user-mode network.
	UserNetName = "user0"
	// PCIDevices is where sysfs has the PCI functions.
	PCIDevices = "/sys/bus/pci/devices"
)

// ErrNotInLab means that this process does not run in a lab guest.
var ErrNotInLab = errors.New("not in a lab guest (run it with: lab test PACKAGE)")

// Topology is what a guest has.
type Topology struct {
	// Kernel is the guest kernel's release, as in uname -r.
	Kernel string `json:"kernel"`
	// Accel is the guest's accelerator: "kvm" or "tcg". Under tcg everything takes some ten times as long.
	Accel string `json:"accel"`
	// Model is the model of all cards.
	Model Model `json:"model"`
	// Cards lists the SR-IOV cards in the order of their PCI addresses. All are on one L2 segment.
	Cards []Card `json:"cards"`
	// UserNet is the interface of the user-mode network, in which the host's loopback is 10.0.2.2; empty if the guest
	// has none.
	UserNet string `json:"userNet,omitempty"`
}

// Card is one SR-IOV card: its PF, and its VFs by number.
type Card struct {
	PF  Function   `json:"pf"`
	VFs []Function `json:"vfs"`
}

// Function is a PCI function with its network interface.
type Function struct {
	// PCI is the address, such as 0000:01:10.0.
	PCI string `json:"pci"`
	// Name is the interface's name when the guest became ready.
	Name string `json:"name"`
	// MAC is the hardware address at that time. A VF's of igb is random, and differs at each boot.
	MAC string `json:"mac"`
}

// Load reads the topology of the guest that the caller runs in; elsewhere it returns ErrNotInLab.
func Load() (*Topology, error) {
	data, err := os.ReadFile(File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotInLab
	}
	if err != nil {
		return nil, fmt.Errorf("read the lab's topology: %w", err)
	}
	t := new(Topology)
	if err := json.Unmarshal(data, t); err != nil {
		return nil, fmt.Errorf("read the lab's topology in %s: %w", File, err)
	}
	return t, nil
}

// FunctionOf returns the PCI address of the function that a network device belongs to, by the device's name as ip(8)
// shows it (parentdev): the address itself, or the name of a device on the virtio bus.
func FunctionOf(device string) string { return cmp.Or(string(virtiopci.Function(device)), device) }

// Netdev returns the current name of the interface of a PCI function. If the interface is not in the caller's netns, or
// the function has no driver, the error is fs.ErrNotExist.
func Netdev(pci string) (string, error) {
	dir := virtiopci.NetDir(filepath.Join(PCIDevices, pci))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("interface of PCI function %s: %w", pci, err)
	}
	if len(entries) == 0 {
		return "", fmt.Errorf("interface of PCI function %s: %s is empty: %w", pci, dir, fs.ErrNotExist)
	}
	return entries[0].Name(), nil
}
