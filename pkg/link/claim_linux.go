package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// claims is the directory in which sriov-cni says which netns has which VF.
type claims struct{ dir string }

// foreign is the netns path that a claim on the VF names, when that is a living netns
// other than the sandbox; empty when there is no such claim. sriov-cni itself takes a claim
// of a netns that is gone for no claim, and so do we.
func (c claims) foreign(pci bond.PCIAddress, own bond.Sandbox) (string, error) {
	data, err := os.ReadFile(filepath.Join(c.dir, string(pci)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("claim on VF %s: %w", pci, err)
	}
	path := strings.TrimSpace(string(data))
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return "", nil // no netns can be there; what is broken must not keep the bond from being seen
	}
	id, err := netns.Identify(path)
	switch {
	case errors.Is(err, netns.ErrGone):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("claim on VF %s: %w", pci, err)
	case id == netns.ID{Dev: own.Dev, Inode: own.Inode}:
		return "", nil
	}
	return path, nil
}
