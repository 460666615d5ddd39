package link

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

const (
	somePF    bond.PCIAddress = "0000:01:00.0"
	someVF    bond.PCIAddress = "0000:01:10.0"
	anotherVF bond.PCIAddress = "0000:01:10.2"
)

// fakeSysfs is a PF with two VFs and netdevs by name, each with a port name ("" for none).
func fakeSysfs(t *testing.T, netdevs map[string]string) sysfs {
	t.Helper()
	root := t.TempDir()
	pf := filepath.Join(root, string(somePF))
	for name, port := range netdevs {
		dir := filepath.Join(pf, "net", name)
		mkdir(t, dir)
		if port != "" {
			write(t, filepath.Join(dir, "phys_port_name"), port+"\n")
		}
	}
	for i, vf := range []bond.PCIAddress{someVF, anotherVF} {
		mkdir(t, filepath.Join(root, string(vf)))
		mkdir(t, pf)
		link(t, "../"+string(somePF), filepath.Join(root, string(vf), "physfn"))
		link(t, "../"+string(vf), filepath.Join(pf, "virtfn"+string(rune('0'+i))))
	}
	return sysfs{root: root}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	kit.Must(t, os.MkdirAll(path, 0o755))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	kit.Must(t, os.WriteFile(path, []byte(text), 0o600))
}

func link(t *testing.T, to, path string) {
	t.Helper()
	kit.Must(t, os.Symlink(to, path))
}

func TestSysfs(t *testing.T) {
	s := fakeSysfs(t, map[string]string{"ens1f0": ""})
	if pf, err := s.pfOf(anotherVF); pf != somePF || err != nil {
		t.Errorf("PF is %s (%v)", pf, err)
	}
	if n, err := s.numberOf(somePF, anotherVF); n != 1 || err != nil {
		t.Errorf("number is %d (%v), want 1", n, err)
	}
	if vf, err := s.vfOf(somePF, 1); vf != anotherVF || err != nil {
		t.Errorf("VF 1 is %s (%v)", vf, err)
	}
	for name, err := range map[string]error{
		"PF of no VF":       second(s.pfOf(somePF)),
		"PF of nothing":     second(s.pfOf("0000:7f:00.0")),
		"a VF of no number": second(s.vfOf(somePF, 2)),
		"number of no VF":   second(s.numberOf(somePF, "0000:01:10.4")),
		"netdev of nothing": second(s.netdevOf("0000:7f:00.0")),
	} {
		if !errors.Is(err, bond.ErrGone) {
			t.Errorf("%s: %v, want ErrGone", name, err)
		}
	}
}

// TestSysfsVirtio: the netdev is below the virtio device, and the PF has no settings for its VFs.
func TestSysfsVirtio(t *testing.T) {
	s := fakeSysfs(t, nil)
	mkdir(t, filepath.Join(s.root, string(someVF), "virtio5", "net", "eth2"))
	mkdir(t, filepath.Join(s.root, string(anotherVF), "virtio6")) // its netdev is in a pod
	link(t, "../../../bus/pci/drivers/virtio-pci", filepath.Join(s.root, string(somePF), "driver"))
	if name, err := s.netdevOf(someVF); name != "eth2" || err != nil {
		t.Errorf("netdev is %q (%v)", name, err)
	}
	if name, err := s.netdevOf(anotherVF); !errors.Is(err, bond.ErrGone) {
		t.Errorf("netdev in a pod is %q (%v)", name, err)
	}
	if pf, err := s.pfOf(someVF); !errors.Is(err, bond.ErrGone) {
		t.Errorf("PF is %s (%v), want ErrGone", pf, err)
	}
}

func TestSysfsDriver(t *testing.T) {
	s := fakeSysfs(t, nil)
	if d := s.boundTo(someVF); d != bond.NoDriver {
		t.Errorf("driver %q of a VF without one", d)
	}
	link(t, "../../drivers/vfio-pci", filepath.Join(s.root, string(someVF), "driver"))
	if d := s.boundTo(someVF); d != "vfio-pci" {
		t.Errorf("driver %q", d)
	}
	if d := s.boundTo("0000:7f:00.0"); d != bond.NoDevice {
		t.Errorf("driver %q of no device", d)
	}
}

func second[T any](_ T, err error) error { return err }

func TestSysfsNetdev(t *testing.T) {
	for _, tc := range []struct {
		name    string
		netdevs map[string]string
		want    string
	}{
		{"plain", map[string]string{"ens1f0": ""}, "ens1f0"},
		{"uplink of a switch", map[string]string{"ens1f0np0": "p0", "aaa0": "pf0vf0", "aaa1": "pf0vf12", "aaa2": "c1pf0vf3", "aaa3": "pf0sf88", "aaa4": "c1pf0"}, "ens1f0np0"},
		{"driver unbound", nil, ""},
		{"only representors", map[string]string{"aaa0": "pf0vf0"}, ""},
		{"an uplink and a netdev that names no port", map[string]string{"aaa": "", "ens1f0np0": "p0"}, "ens1f0np0"},
	} {
		got, err := fakeSysfs(t, tc.netdevs).netdevOf(somePF)
		if got != tc.want || (err != nil) != (tc.want == "") {
			t.Errorf("%s: %q (%v), want %q", tc.name, got, err, tc.want)
		}
		if err != nil && !errors.Is(err, bond.ErrGone) {
			t.Errorf("%s: %v, want ErrGone", tc.name, err)
		}
	}
}

// TestSysfsSeveralNetdevs: none is chosen only because it is the first.
func TestSysfsSeveralNetdevs(t *testing.T) {
	for name, ports := range map[string]map[string]string{
		"two without a port": {"ens1": "", "ens1d1": ""},
		"two uplinks":        {"ens1np0": "p0", "ens1np1": "p1", "aaa0": "pf0vf0"},
	} {
		s := fakeSysfs(t, ports)
		got, err := s.netdevOf(somePF)
		if got != "" || !errors.Is(err, errAmbiguous) {
			t.Errorf("%s: %q, %v", name, got, err)
			continue
		}
		for dev, port := range ports {
			if !representor.MatchString(port) && !strings.Contains(err.Error(), dev) {
				t.Errorf("%s: the error does not name %s: %v", name, dev, err)
			}
		}
	}
	// A card with two ports on one function: the VF's own port decides.
	s := fakeSysfs(t, map[string]string{"ens1": "", "ens1d1": ""})
	write(t, filepath.Join(s.root, string(somePF), "net/ens1/dev_port"), "0\n")
	write(t, filepath.Join(s.root, string(somePF), "net/ens1d1/dev_port"), "1\n")
	if got, err := s.pfNetdevOf(somePF, someVF); !errors.Is(err, errAmbiguous) {
		t.Errorf("with the VF in a pod: %q, %v", got, err)
	}
	mkdir(t, filepath.Join(s.root, string(someVF), "net/ens1v0"))
	write(t, filepath.Join(s.root, string(someVF), "net/ens1v0/dev_port"), "1\n")
	if got, err := s.pfNetdevOf(somePF, someVF); got != "ens1d1" || err != nil {
		t.Errorf("with the VF in the host: %q, %v", got, err)
	}
}

// TestLinkOfPCI: if a function has several links, none is chosen.
func TestLinkOfPCI(t *testing.T) {
	dev := func(name, port string, pci bond.PCIAddress) *device {
		return &device{Link: bond.Link{Name: name, PCI: pci}, portName: port}
	}
	all := devices{dev("rep0", "pf0vf0", somePF), dev("ens1", "p0", somePF), dev("rep1", "pf0vf1", somePF), dev("a", "", someVF), dev("b", "", someVF), dev("veth", "", "")}
	if d, ambiguous := all.ofPCI(somePF); d == nil || d.Name != "ens1" || ambiguous != "" {
		t.Errorf("a PF with representors: %+v, %q", d, ambiguous)
	}
	if d, ambiguous := all.ofPCI(someVF); d != nil || ambiguous != "a, b" {
		t.Errorf("a VF with two links: %+v, %q", d, ambiguous)
	}
	if d, ambiguous := all.ofPCI(anotherVF); d != nil || ambiguous != "" {
		t.Errorf("nothing: %+v, %q", d, ambiguous)
	}
}
