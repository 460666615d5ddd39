package virtiopci

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

func TestFunction(t *testing.T) {
	dir := t.TempDir()
	for name, to := range map[string]string{
		"virtio3":  "../../../devices/pci0000:00/0000:00:04.0/0000:01:00.1/virtio3",
		"virtio4":  "../../../devices/platform/a003e00.virtio_mmio/virtio4",
		"virtiox5": "../../../devices/pci0000:00/0000:00:04.0/virtiox5",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil { // kit imports this package
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bond.PCIAddress{
		"virtio3": "0000:01:00.1", "virtio4": "", "virtio9": "", "virtiox5": "", "virtio": "", "../virtio3": "", "": "",
	} {
		if got := functionIn(dir, name); got != want {
			t.Errorf("%q is of function %q, want %q", name, got, want)
		}
	}
}

func TestIsNameDoesNotAllocate(t *testing.T) {
	name := []byte("virtio12")
	if n := testing.AllocsPerRun(100, func() { _ = IsName(name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNetDir(t *testing.T) {
	dir := t.TempDir()
	for function, below := range map[string]string{"igbvf": "net", "virtio": "virtio5/net", "in a pod": "virtio6", "without driver": ""} {
		if err := os.MkdirAll(filepath.Join(dir, function, below), 0o755); err != nil { // kit imports this package
			t.Fatal(err)
		}
	}
	for function, want := range map[string]string{"igbvf": "net", "virtio": "virtio5/net", "in a pod": "net", "without driver": "net"} {
		if got := NetDir(filepath.Join(dir, function)); got != filepath.Join(dir, function, want) {
			t.Errorf("%s: %s, want %s", function, got, want)
		}
	}
}
