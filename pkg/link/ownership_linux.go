package link

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/sriovcni"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// claims is the directory of sriov-cni's claims: which netns has which VF.
type claims struct{ dir string }

func (c claims) path(pci bond.PCIAddress) string { return filepath.Join(c.dir, string(pci)) }

// claim is one VF's claim as it is now.
type claim struct {
	exists bool
	// netns is the path in it; empty if it has none.
	netns string
	// own: the path leads to the sandbox. alive: it leads to any netns.
	own, alive bool
}

// read returns a VF's claim; the zero value if there is none. An error means that nothing is known.
func (c claims) read(pci bond.PCIAddress, own bond.Sandbox) (claim, error) {
	path, err := sriovcni.Claim(c.path(pci))
	if errors.Is(err, fs.ErrNotExist) {
		return claim{}, nil
	}
	if err != nil {
		return claim{}, fmt.Errorf("claim on VF %s: %w", pci, explained(err))
	}
	found := claim{exists: true}
	if path == "" {
		return found, nil
	}
	found.netns = path
	id, err := netns.Identify(path)
	switch {
	case errors.Is(err, netns.ErrGone):
	case err != nil:
		return claim{}, fmt.Errorf("claim on VF %s: %w", pci, err)
	default:
		found.alive = true
		found.own = id == netns.ID{Dev: own.Dev, Inode: own.Inode}
	}
	return found, nil
}

// foreign returns the netns path of a claim on the VF, if that is an existing netns
// other than the sandbox; empty if there is no such claim. A claim of a missing netns does not count, as in sriov-cni.
func (c claims) foreign(pci bond.PCIAddress, own bond.Sandbox) (string, error) {
	found, err := c.read(pci, own)
	if err != nil || !found.alive || found.own {
		return "", err
	}
	return found.netns, nil
}

// explained adds the remedy if the process may not read a file of sriov-cni.
func explained(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (sriov-cni makes its directories with mode 0600: reading them needs CAP_DAC_READ_SEARCH)", err)
	}
	return err
}

// ownership is the result of reading sriov-cni's files about a VF.
type ownership struct {
	state   bond.Ownership
	reason  string
	foreign string
}

// ownershipOf reads the files that the record names, and the VF's claim in any case.
func (k *Kernel) ownershipOf(m *bond.Member, own bond.Sandbox) ownership {
	found, err := k.claims.read(m.PCI, own)
	if err != nil {
		return ownership{state: bond.Unreadable, reason: err.Error()}
	}
	var o ownership
	if found.alive && !found.own {
		o.foreign = found.netns
	}
	if m.SriovCNI != nil {
		o.state, o.reason = k.recordedOwnership(m, found)
	}
	return o
}

func (k *Kernel) recordedOwnership(m *bond.Member, now claim) (bond.Ownership, string) {
	cache := m.SriovCNI.Cache
	pci, err := sriovcni.Device(cache)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bond.Released, fmt.Sprintf("its cache file %s is gone", cache)
	case err != nil:
		return bond.Unreadable, fmt.Sprintf("sriov-cni's cache file %s: %v", cache, explained(err))
	case pci != m.PCI:
		return bond.Released, fmt.Sprintf("its cache file %s names VF %s now", cache, pci)
	case now.own:
		return bond.Owned, ""
	case !now.exists && m.SriovCNI.Claim == "": // attached by a version without claims
		return bond.Owned, ""
	case !now.exists:
		return bond.Released, fmt.Sprintf("its claim %s is gone", m.SriovCNI.Claim)
	case now.netns == "": // sriov-cni writes it in place
		return bond.Unreadable, fmt.Sprintf("sriov-cni's claim %s names no netns", k.claims.path(m.PCI))
	default:
		return bond.Released, fmt.Sprintf("its claim %s names netns %s", k.claims.path(m.PCI), now.netns)
	}
}

// sriovFiles returns the paths of sriov-cni's files about the VF of an attachment; nil if there are none, or if they
// name another VF or netns. An unreadable file counts as missing: the record then has weaker evidence only.
func (k *Kernel) sriovFiles(key bond.Key, ifName string, pci bond.PCIAddress, own bond.Sandbox) *bond.SriovCNI {
	cache, err := sriovcni.CachePath(k.sriov, bond.Key{ContainerID: key.ContainerID, IfName: ifName})
	if err != nil {
		return nil
	}
	if device, err := sriovcni.Device(cache); err != nil || device != pci {
		return nil
	}
	files := &bond.SriovCNI{Cache: cache}
	switch found, err := k.claims.read(pci, own); {
	case err != nil, found.exists && !found.own:
		return nil
	case found.exists:
		files.Claim = k.claims.path(pci)
	}
	return files
}

// observeOwnership reads sriov-cni's files for all VFs, other than those that this ADD has just enslaved. A file that
// cannot be read concerns its VF only.
func (k *Kernel) observeOwnership(r *bond.Record, o *bond.Observed) {
	for i := range r.Members {
		m, om := &r.Members[i], &o.Members[i]
		if m.PCI == "" || r.Phase == bond.PhaseAdding && o.Enslaved(i) {
			continue
		}
		is := k.ownershipOf(m, r.Sandbox)
		om.Ownership, om.OwnershipReason, om.ForeignClaim = is.state, is.reason, is.foreign
		if m.SriovCNI == nil && om.Location == bond.InPod && !m.Original.FromHost {
			om.SriovCNI = k.sriovFiles(r.Key, m.Name, m.PCI, r.Sandbox)
		}
	}
}

// withVFLockInPod is withVFLock for a VF that is not moved. Without the right to take the lock the VF is changed
// nevertheless, because no other pod can have it.
func (k *Kernel) withVFLockInPod(vf bond.PCIAddress, change func() error) error {
	ran := false
	err := k.withVFLock(vf, func() error { ran = true; return change() })
	if !ran && errors.Is(err, fs.ErrPermission) {
		return change()
	}
	return err
}

// withVFLock runs change under sriov-cni's lock on the VF, so that the VF is not changed during a DEL of sriov-cni. If
// sriov-cni has the lock, the error matches bond.ErrInUse: the caller holds the bond's lock and does not wait.
func (k *Kernel) withVFLock(vf bond.PCIAddress, change func() error) error {
	if vf == "" {
		return change()
	}
	unlock, err := k.locks.TryLock(vf)
	if err != nil {
		return err
	}
	defer unlock()
	return change()
}

// whileOwned is withVFLock for a change that is made only while the VF belongs to the pod. The files are read under the
// lock, immediately before the change.
func (k *Kernel) whileOwned(r *bond.Record, vf bond.PCIAddress, change func() error) error {
	return k.withVFLock(vf, func() error {
		if err := k.mustOwn(r, vf); err != nil {
			return err
		}
		return change()
	})
}

func (k *Kernel) mustOwn(r *bond.Record, vf bond.PCIAddress) error {
	if vf == "" {
		return nil
	}
	i := r.MemberByPCI(vf)
	if i < 0 {
		return fmt.Errorf("%w: the record has no VF %s", bond.ErrStale, vf)
	}
	is := k.ownershipOf(&r.Members[i], r.Sandbox)
	switch {
	case is.foreign != "":
		return fmt.Errorf("%w: %s is claimed for %s", bond.ErrStale, vf, is.foreign)
	case is.state == bond.Released:
		return fmt.Errorf("%w: sriov-cni has returned %s to its owner: %s", bond.ErrStale, vf, is.reason)
	case is.state == bond.Unreadable:
		return fmt.Errorf("it is not known whether %s still belongs to the pod: %s", vf, is.reason)
	}
	return nil
}
