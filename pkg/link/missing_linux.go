package link

import (
	"errors"
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/sriovcni"
)

// missingMember returns the result for a link that was not found. sriov-cni's cache file has the VF's identity and its
// settings in the pod; without that file only the name is known.
func (l *memberSearch) missingMember(i int) (bond.MemberLink, error) {
	name, a := l.Names[i], l.attached[i]
	if a == nil {
		return bond.MemberLink{
			Member:  bond.Member{Name: name, Unidentified: true},
			Missing: fmt.Errorf("%w: link %s: there is no such link %s; check links in the network config and the pod's other attachments", bond.ErrGone, name, l.place),
		}, nil
	}
	f := bond.MemberLink{Member: bond.Member{
		Name: name, PCI: a.PCI, MAC: a.MAC,
		Original: bond.Original{Name: name, MAC: a.MAC, MTU: a.MTU, Up: true},
		SriovCNI: l.k.sriovFiles(l.Key, name, a.PCI, l.Sandbox),
	}}
	switch with, err := l.withPF(f.Member, a); {
	case err == nil:
		f = with
	case !errors.Is(err, bond.ErrGone): // its PF may be missing, too
		return f, err
	}
	m := &f.Member
	if m.VF == nil {
		m.VF = l.vfFromCache(a)
	}
	d, err := l.inHost(a)
	if err != nil || d == nil {
		f.Missing = fmt.Errorf("%w: link %s: VF %s, which sriov-cni attached to the pod, is in neither the pod nor the host", bond.ErrGone, name, a.PCI)
		return f, err
	}
	if m.MAC == "" {
		m.MAC, m.Original.MAC = d.MAC, d.MAC
	}
	if m.Original.MTU == 0 {
		m.Original.MTU = d.MTU
	}
	return f, nil
}

// inHost returns the netdev of a VF that its driver created in the host; nil if it is not there.
func (l *memberSearch) inHost(a *sriovcni.Attachment) (*device, error) {
	name, err := l.k.sysfs.netdevOf(a.PCI)
	if err == nil {
		var d *device
		if d, err = l.host.byName(name, false); err == nil && d.PCI == a.PCI {
			return d, nil
		}
	}
	if errors.Is(err, bond.ErrGone) {
		err = nil
	}
	return nil, err
}

// vfFromCache returns PF and number of a missing VF from sriov-cni's cache file. It has the PF's name only, which may
// be that of another card by now. Before a setting is written to that PF, PF and number are compared with sysfs.
func (l *memberSearch) vfFromCache(a *sriovcni.Attachment) *bond.VF {
	d, err := l.host.byName(a.PFName, false)
	if err != nil || d.PCI == "" {
		l.warn("VF %s: neither it nor its PF %s is there; its settings on the PF cannot be restored when it returns", a.PCI, a.PFName)
		return nil
	}
	return &bond.VF{PF: d.PCI, Number: a.Number, Settings: a.Requested}
}
