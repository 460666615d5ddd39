package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// ProbeBonding returns an error if the kernel of release has no bonding: neither the driver nor a module, which the
// kernel loads with the first bond. The kernel's files are below root, which is "/" except in tests.
func ProbeBonding(root, release string) error {
	_, err := os.Stat(filepath.Join(root, "sys/class/net/bonding_masters"))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, list := range []string{"modules.dep", "modules.builtin"} {
		found, err := fileLists(filepath.Join(root, "lib/modules", release, list), "/bonding.ko")
		if found || err != nil {
			return err
		}
	}
	return fmt.Errorf("kernel %s has no bonding driver and no such module: %w", release, bond.ErrUnsupported)
}

// fileLists reports whether a line of a file begins with the path of a module; a missing file lists nothing.
func fileLists(path, module string) (bool, error) {
	text, err := os.ReadFile(path) //nolint:gosec // a path of the system
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, ":")
		if strings.Contains(name, module) {
			return true, nil
		}
	}
	return false, nil
}
