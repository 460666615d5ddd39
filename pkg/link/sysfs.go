package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// sysfs is the directory of PCI devices by address. It shows the netdevs of the host's
// netns only; what is said here of VFs is true wherever their netdev is.
type sysfs struct{ root string }

// pfOf is the VF's physical function; bond.ErrGone when the device is not there or is
// no VF of this host (a VF given to a virtual machine shows no PF inside).
func (s sysfs) pfOf(vf bond.PCIAddress) (bond.PCIAddress, error) {
	return s.linked(vf, "physfn")
}

// vfOf is the PF's virtual function of that number; bond.ErrGone when there is none.
func (s sysfs) vfOf(pf bond.PCIAddress, number int) (bond.PCIAddress, error) {
	return s.linked(pf, "virtfn"+strconv.Itoa(number))
}

func (s sysfs) linked(dev bond.PCIAddress, name string) (bond.PCIAddress, error) {
	to, err := os.Readlink(filepath.Join(s.root, string(dev), name))
	if err != nil {
		return "", gone(err)
	}
	return bond.ParsePCIAddress(filepath.Base(to))
}

// numberOf is the VF's number on its PF.
func (s sysfs) numberOf(pf, vf bond.PCIAddress) (int, error) {
	links, err := filepath.Glob(filepath.Join(s.root, string(pf), "virtfn*"))
	if err != nil {
		return 0, err
	}
	for _, l := range links {
		n, err := strconv.Atoi(filepath.Base(l)[len("virtfn"):])
		if err != nil {
			continue
		}
		if found, err := s.vfOf(pf, n); err == nil && found == vf {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: PF %s has no VF %s", bond.ErrGone, pf, vf)
}

// representor is the port name of a netdev that stands for a VF or a sub-function on a
// switch inside the card; its parent is the PF, too (devlink port names).
var representor = regexp.MustCompile(`^(c\d+)?pf\d+(vf|sf)?\d*$`)

// netdevOf is the name in the host's netns of the PF's own netdev; bond.ErrGone when the
// PF has none there.
func (s sysfs) netdevOf(pf bond.PCIAddress) (string, error) {
	dir := filepath.Join(s.root, string(pf), "net")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", gone(err)
	}
	for _, e := range entries {
		port, err := os.ReadFile(filepath.Join(dir, e.Name(), "phys_port_name"))
		if err == nil && representor.MatchString(string(trimNewline(port))) {
			continue
		}
		return e.Name(), nil
	}
	return "", fmt.Errorf("%w: PF %s has no netdev in the host's netns", bond.ErrGone, pf)
}

func trimNewline(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", bond.ErrGone, err)
	}
	return err
}
