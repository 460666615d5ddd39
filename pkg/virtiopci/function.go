package virtiopci

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Bus is the name of the bus, as the kernel reports it with a link (IFLA_PARENT_DEV_BUS_NAME).
const Bus = "virtio"

// devices is where sysfs has the virtio devices. It shows those of all netns.
const devices = "/sys/bus/virtio/devices"

// Function returns the address of the PCI function of a virtio device by its name, such as virtio3. It is empty if
// there is no such device, or if its transport is not PCI. It is safe for concurrent use.
func Function(name string) bond.PCIAddress { return functionIn(devices, name) }

// NetDir returns the directory of a PCI function's network links, below the function's own directory of sysfs. Those of
// virtio-net are below the virtio device. Either may not exist.
func NetDir(function string) string {
	dir := filepath.Join(function, "net")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if virtio, _ := filepath.Glob(filepath.Join(function, Bus+"*", "net")); len(virtio) > 0 { // the pattern is valid
		return virtio[0]
	}
	return dir
}

// IsName reports whether a device's name is one that the virtio bus gives (register_virtio_device). It does not
// allocate.
func IsName(name []byte) bool {
	number, found := bytes.CutPrefix(name, []byte(Bus))
	return found && len(number) > 0 && len(bytes.Trim(number, "0123456789")) == 0
}

func functionIn(dir, name string) bond.PCIAddress {
	if !IsName([]byte(name)) {
		return ""
	}
	to, err := os.Readlink(filepath.Join(dir, name)) // .../0000:01:00.0/virtio3
	if err != nil {
		return ""
	}
	pci, err := bond.ParsePCIAddress(filepath.Base(filepath.Dir(to)))
	if err != nil {
		return ""
	}
	return pci
}
