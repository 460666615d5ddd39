package linktest

import (
	"context"
	"fmt"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

const fakeClaims = "/var/lib/cni/sriov/pci/"

// ownership is the content of sriov-cni's files that is read.
type ownership struct {
	claims map[bond.PCIAddress]string // netns path
	caches map[string]bond.PCIAddress // by path
	broken map[bond.PCIAddress]bool   // unreadable claims
}

// Attach writes the files that sriov-cni's ADD writes for member i, and records them.
func (f *Fake) Attach(r *bond.Record, i int) {
	m := &r.Members[i]
	m.SriovCNI = &bond.SriovCNI{
		Cache: "/var/lib/cni/sriov/" + r.Key.ContainerID + "-" + m.Name,
		Claim: fakeClaims + string(m.PCI),
	}
	f.Cache(m.SriovCNI.Cache, m.PCI)
	f.Claim(m.PCI, r.Sandbox.Path)
}

// Detach removes them, as its DEL does at its end. ReleaseVF does the rest of a DEL.
func (f *Fake) Detach(m *bond.Member) {
	f.Claim(m.PCI, "")
	f.Cache(m.SriovCNI.Cache, "")
}

// Claim writes another plugin's claim that the VF belongs to the netns at path; "" removes it.
func (f *Fake) Claim(pci bond.PCIAddress, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.files.broken, pci)
	if path == "" {
		delete(f.files.claims, pci)
		return
	}
	f.files.claims[pci] = path
}

// BreakClaim makes the claim unreadable until the next Claim.
func (f *Fake) BreakClaim(pci bond.PCIAddress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files.broken[pci] = true
}

// Cache writes a cache file of sriov-cni that names a VF; "" removes it.
func (f *Fake) Cache(path string, pci bond.PCIAddress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if pci == "" {
		delete(f.files.caches, path)
		return
	}
	f.files.caches[path] = pci
}

// ReleaseVF is what sriov-cni's DEL does with a VF in the pod: it restores settings on the PF, MAC and name, moves the
// VF back to the host, and removes both files.
func (f *Fake) ReleaseVF(r *bond.Record, i int, hostName string, mac bond.MAC, settings bond.VFSettings) error {
	m := &r.Members[i]
	err := f.onVF(m.PCI, func(v *vf) error {
		if v.link == nil || v.link.space != f.spaces[r.Sandbox.Path] {
			return fmt.Errorf("VF %s in the pod: %w", m.PCI, bond.ErrGone)
		}
		d := v.link
		d.setDown()
		_ = d.setMAC(mac)
		if err := d.setMTU(1500); err != nil {
			return err
		}
		if err := d.move(f.spaces[Host], hostName); err != nil { // a bond that has it gives back what it had before
			return err
		}
		return v.restore(settings)
	})
	if err == nil {
		f.Detach(m)
	}
	return err
}

// observeOwnership reads the files for one VF.
func (f *Fake) observeOwnership(r *bond.Record, m *bond.Member, om *bond.ObservedMember) {
	om.ForeignClaim = f.foreignClaim(m.PCI, r.Sandbox)
	om.Ownership, om.OwnershipReason = f.ownershipOf(r, m)
	claimed := f.files.claims[m.PCI]
	cache := "/var/lib/cni/sriov/" + r.Key.ContainerID + "-" + m.Name
	if m.SriovCNI == nil && om.Location == bond.InPod && !m.Original.FromHost && f.files.caches[cache] == m.PCI && (claimed == "" || claimed == r.Sandbox.Path) {
		om.SriovCNI = &bond.SriovCNI{Cache: cache}
		if claimed != "" {
			om.SriovCNI.Claim = fakeClaims + string(m.PCI)
		}
	}
}

func (f *Fake) ownershipOf(r *bond.Record, m *bond.Member) (bond.Ownership, string) {
	claimed, exists := f.files.claims[m.PCI]
	pod, _ := f.pod(r)
	switch files := m.SriovCNI; {
	case f.files.broken[m.PCI]:
		return bond.Unreadable, "claim " + fakeClaims + string(m.PCI) + " cannot be read"
	case files == nil:
		return bond.OwnerUnknown, ""
	case f.files.caches[files.Cache] != m.PCI:
		return bond.Released, "its cache file " + files.Cache + " is gone or names another VF"
	case exists && pod != nil && f.spaces[claimed] == pod, !exists && files.Claim == "":
		return bond.Owned, ""
	default:
		return bond.Released, "its claim " + files.Claim + " is gone or names another netns"
	}
}

// foreignClaim is the path in a claim on the VF, if that is an existing netns other than the sandbox.
func (f *Fake) foreignClaim(pci bond.PCIAddress, own bond.Sandbox) string {
	path := f.files.claims[pci]
	s := f.spaces[path]
	if path == "" || f.files.broken[pci] || s == nil || s.dev == own.Dev && s.inode == own.Inode {
		return ""
	}
	return path
}

// mustOwn rejects a change of a VF that the pod no longer owns.
func (f *Fake) mustOwn(r *bond.Record, pci bond.PCIAddress) error {
	if pci == "" {
		return nil
	}
	i := r.MemberByPCI(pci)
	if i < 0 {
		return fmt.Errorf("the record has no VF %s: %w", pci, bond.ErrStale)
	}
	if claim := f.foreignClaim(pci, r.Sandbox); claim != "" {
		return fmt.Errorf("%s is claimed for %s: %w", pci, claim, bond.ErrStale)
	}
	switch is, reason := f.ownershipOf(r, &r.Members[i]); is {
	case bond.Released:
		return fmt.Errorf("%s was released: %s: %w", pci, reason, bond.ErrStale)
	case bond.Unreadable:
		return fmt.Errorf("the owner of %s is not known: %s", pci, reason)
	}
	return nil
}

// vfOf is the VF that the pod must own for an action.
func vfOf(a plan.Action) bond.PCIAddress {
	var ref plan.LinkRef
	switch a := a.(type) {
	case plan.RestoreVF:
		return a.PCI
	case plan.MoveToPod:
		return a.Link.PCI
	case plan.Rename:
		ref = a.Link
	case plan.SetMAC:
		ref = a.Link
	case plan.SetMTU:
		ref = a.Link
	case plan.SetUp:
		ref = a.Link
	case plan.SetDown:
		ref = a.Link
	case plan.Bounce:
		ref = a.Link
	case plan.Release:
		ref = a.Link
	}
	if ref.Location != bond.InHost {
		return ""
	}
	return ref.PCI
}

// pfSettings are those that the PF has for a VF in the bond; nil if they are not read.
func (f *Fake) pfSettings(r *bond.Record, m *bond.Member) *bond.VFSettings {
	pf := f.observePF(m.PCI)
	if pf == nil || r.Phase != bond.PhaseReady || m.VF == nil {
		return nil
	}
	return new(pf.VF)
}

// Unannounced implements reconcile.Kernel.
func (f *Fake) Unannounced(_ context.Context, r *bond.Record, o bond.Observed) bond.Observed {
	f.mu.Lock()
	defer f.mu.Unlock()
	o.Members = slices.Clone(o.Members)
	for i := range o.Members {
		m, om := &r.Members[i], &o.Members[i]
		om.SriovCNI, om.PFSettings = nil, nil
		if m.PCI == "" {
			continue
		}
		f.observeOwnership(r, m, om)
		if om.Location == bond.InPod && o.Bond != nil {
			om.PFSettings = f.pfSettings(r, m)
		}
	}
	return o
}
