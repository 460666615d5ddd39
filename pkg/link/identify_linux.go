package link

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/sriovcni"
)

// LinkByName returns the link in the sandbox that has a name, its own or an alternative one;
// nil if the name is free. bond.ErrGone means that the sandbox no longer exists.
func (k *Kernel) LinkByName(ctx context.Context, s bond.Sandbox, name string) (*bond.Link, error) {
	pod, err := k.openPod(ctx, s)
	if err != nil {
		return nil, err
	}
	defer pod.close()
	switch d, err := pod.byName(name, false); {
	case errors.Is(err, bond.ErrGone):
		return nil, nil
	case err != nil:
		return nil, err
	default:
		return &d.Link, nil
	}
}

// FindMembers returns the identity and the current state of links that are to become members. It changes nothing. Links
// are found by name. A VF that sriov-cni attached to this sandbox is also found by the PCI address in sriov-cni's cache
// file: under another name, or in the host, where its driver may have created it again. The search is repeated with
// every change of links until s.Wait has passed.
//
// VF.Settings are those requested from sriov-cni, or else all that the PF reports now.
//
// A missing link is not an error. The error has one line per link that cannot be a member; it matches bond.ErrGone if
// the sandbox no longer exists.
func (k *Kernel) FindMembers(ctx context.Context, s bond.MemberQuery) (bond.MemberResult, error) {
	l := &memberSearch{k: k, MemberQuery: s, place: bond.InPod, chosen: map[int]bool{}}
	if s.InHost {
		l.place = bond.InHost
	}
	defer l.close()
	if err := l.open(ctx); err != nil {
		return bond.MemberResult{}, err
	}
	var events *linkEvents
	if s.Wait > 0 {
		var err error
		if events, err = listen(ctx, s.Wait, l.in, l.host); err != nil {
			return bond.MemberResult{}, err
		}
		defer events.close()
	}
	for {
		found, err := l.searchOnce()
		if err != nil || len(found.Missing()) == 0 || events == nil {
			return found, err
		}
		if more, err := events.next(); err != nil || !more {
			return found, err
		}
	}
}

// memberSearch is one search.
type memberSearch struct {
	k *Kernel
	bond.MemberQuery
	place    bond.Location
	in, host *conn // the same if the links are in the host
	// attached is sriov-cni's cache entry for each link; nil if it has none.
	attached []*sriovcni.Attachment
	warnings []string
	chosen   map[int]bool // ifindexes in the pod that were given to host links
}

func (l *memberSearch) open(ctx context.Context) (err error) {
	if l.in, err = l.k.open(ctx, &bond.Record{Sandbox: l.Sandbox}, l.place); err != nil {
		return err
	}
	l.attached = make([]*sriovcni.Attachment, len(l.Names))
	if l.host = l.in; l.InHost {
		return nil
	}
	for i, name := range l.Names {
		var unread error
		l.attached[i], unread = sriovcni.Read(l.k.sriov, bond.Key{ContainerID: l.Key.ContainerID, IfName: name})
		if unread != nil {
			l.warn("link %s: %v; the current settings of its PF count as the requested ones", name, unread)
		}
	}
	l.host, err = l.k.openHost(ctx)
	return err
}

func (l *memberSearch) close() {
	if l.host != nil && l.host != l.in {
		l.host.close()
	}
	if l.in != nil {
		l.in.close()
	}
}

func (l *memberSearch) warn(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

// searchOnce searches once for all links.
func (l *memberSearch) searchOnce() (bond.MemberResult, error) {
	before := len(l.warnings)
	l.in.searched = nil
	found := bond.MemberResult{Links: make([]bond.MemberLink, len(l.Names))}
	var errs []error
	for i := range l.Names {
		var err error
		if found.Links[i], err = l.search(i); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return bond.MemberResult{}, err
	}
	found.Warnings = l.warnings
	l.warnings = l.warnings[:before:before] // the next search repeats its warnings
	return found, nil
}

// search finds one link by its name, or by sriov-cni's cache entry.
func (l *memberSearch) search(i int) (bond.MemberLink, error) {
	name, a := l.Names[i], l.attached[i]
	d, err := l.in.deviceByName(name)
	if err == nil && d == nil && a != nil {
		var all devices
		all, err = l.in.linksOf(a.PCI, nil)
		d, _ = all.ofPCI(a.PCI)
	}
	if err != nil {
		return bond.MemberLink{}, err
	}
	if d == nil {
		return l.missingMember(i)
	}
	if err := l.in.canBeMember(d, name); err != nil {
		return bond.MemberLink{}, err
	}
	if err := l.checkUnambiguous(d, name); err != nil {
		return bond.MemberLink{}, err
	}
	if err := l.checkAddress(d, name); err != nil {
		return bond.MemberLink{}, err
	}
	if a != nil && a.PCI != d.PCI {
		l.warn("link %s: in sriov-cni's cache it is VF %s, but it is %q; the current settings of its PF count as the requested ones", name, a.PCI, d.PCI)
		a = nil
	}
	if d.PCI != "" && l.place == bond.InPod {
		l.in.searched = append(l.in.searched, d)
	}
	m := memberOf(d, l.place)
	if err := l.identify(&m, d); err != nil {
		return bond.MemberLink{}, err
	}
	if a != nil { // it may have been renamed since
		m.Name, m.Original.Name = name, name
		m.SriovCNI = l.k.sriovFiles(l.Key, name, m.PCI, l.Sandbox)
	}
	return l.withPF(m, a)
}

// checkUnambiguous rejects a link that its PCI address does not identify: a lost one could not be recognised.
func (l *memberSearch) checkUnambiguous(d *device, name string) error {
	if d.PCI == "" {
		return nil
	}
	if representor.MatchString(d.portName) {
		return fmt.Errorf("link %s: it is a representor (port %s) of PCI function %s, not a function of its own", name, d.portName, d.PCI)
	}
	all, err := l.in.linksOf(d.PCI, d)
	if err != nil {
		return err
	}
	_, others := all.ofPCI(d.PCI)
	if inHost, err := l.k.sysfs.netdevsOf(d.PCI); err == nil && l.place == bond.InPod && others == "" {
		others = d.Name + ", and in the host " + strings.Join(inHost, ", ")
	}
	if others != "" {
		return fmt.Errorf("link %s: PCI function %s has several links (%s), so a lost member could not be identified", name, d.PCI, others)
	}
	return nil
}

// checkAddress rejects a VF whose PCI address the kernel does not report, and warns of a device without one.
func (l *memberSearch) checkAddress(d *device, name string) error {
	if d.PCI != "" {
		return nil
	}
	bus, parent, err := l.in.parentOf(d)
	if err != nil {
		return err
	}
	warning, err := checkRecognisable(name, bus, parent)
	if warning != "" {
		l.warn("%s", warning)
	}
	return err
}

// withPF adds a VF's PF, number and settings. Other links have none, nor has a VF whose PF is not visible.
func (l *memberSearch) withPF(m bond.Member, a *sriovcni.Attachment) (bond.MemberLink, error) {
	vf, pf, err := l.k.vfState(l.host, m.PCI)
	if vf != nil && pf == nil && l.k.sysfs.withoutNetdev(vf.PF, err) {
		l.warn("link %s (%s): its PF %s has no usable network link (driver %s): %v; settings on the PF can be neither verified nor restored", m.Name, m.PCI, vf.PF, l.k.sysfs.driverOf(vf.PF), err)
		err = nil
	}
	unlisted := vf != nil && errors.Is(err, errIncompleteVFList)
	if unlisted {
		l.warn("link %s (%s): its PF %s does not report its settings: %v; they can be neither verified nor restored", m.Name, m.PCI, vf.PF, err)
		err = nil
	}
	if err != nil {
		return bond.MemberLink{}, fmt.Errorf("link %s (%s): %w", m.Name, m.PCI, err)
	}
	if m.VF = vf; vf != nil && a != nil {
		vf.Settings = a.Requested
	}
	if vf == nil || unlisted {
		pf = l.k.pfWithoutSettings(l.host, m.PCI)
	}
	return bond.MemberLink{Member: m, PF: pf}, nil
}

func (c *conn) canBeMember(d *device, name string) error {
	switch {
	case d.Kind == "bond":
		return fmt.Errorf("link %s (ifindex %d): it is a bond itself; name the links that the bond is to have", name, d.Index)
	case d.loopback:
		return fmt.Errorf("link %s: it is the loopback interface", name)
	case d.MAC == "":
		return fmt.Errorf("link %s (ifindex %d, kind %q): it has no Ethernet address and cannot be bonded", name, d.Index, d.Kind)
	case d.Master != 0:
		master := c.nameOf(d.Master)
		return fmt.Errorf("link %s (ifindex %d): it is enslaved to %s (ifindex %d) already; name another link or release it", name, d.Index, master, d.Master)
	}
	return nil
}

func memberOf(d *device, place bond.Location) bond.Member {
	return bond.Member{
		Name: d.Name, PCI: d.PCI, Index: d.Index, PermMAC: d.PermMAC, MAC: d.MAC,
		Original: bond.Original{Name: d.Name, MAC: d.MAC, MTU: d.MTU, Up: d.Up, Alias: d.Alias, FromHost: place == bond.InHost},
	}
}

// vfState returns a VF's PF and number with all its settings there; nil for a link that is not a VF, and for a VF whose
// PF is not visible. If the PF has no netdev, or several, or does not list the VF, it returns PF and number with the
// error.
func (k *Kernel) vfState(host *conn, pci bond.PCIAddress) (*bond.VF, *bond.ObservedPF, error) {
	if pci == "" {
		return nil, nil, nil
	}
	address, err := k.sysfs.pfOf(pci)
	if errors.Is(err, bond.ErrGone) {
		return nil, nil, nil
	}
	number, err := k.sysfs.numberOf(address, pci)
	if err != nil {
		return nil, nil, err
	}
	vf := &bond.VF{PF: address, Number: number}
	_, d, err := k.pfDevice(host, pci, true)
	return vfOn(vf, d, err)
}

// vfOn completes a VF by what its PF reports, which was read with that error.
func vfOn(vf *bond.VF, pf *device, err error) (*bond.VF, *bond.ObservedPF, error) {
	if err != nil {
		return vf, nil, fmt.Errorf("query its PF: %w", incompleteVFList(err))
	}
	o := observedPF(pf)
	if o.VF, err = pf.vfSettings(vf.Number); errors.Is(err, bond.ErrGone) {
		return nil, nil, err
	} else if err != nil {
		return vf, nil, incompleteVFList(err)
	}
	vf.Settings = o.VF
	return vf, o, nil
}

// pfWithoutSettings returns the state of a VF's PF that has no settings for VFs; nil if it is not visible. It only
// matters for what is checked of a new bond, so errors do not count.
func (k *Kernel) pfWithoutSettings(host *conn, vf bond.PCIAddress) *bond.ObservedPF {
	if vf == "" {
		return nil
	}
	pf, err := k.sysfs.anyPFOf(vf)
	if err != nil {
		return nil
	}
	name, err := k.sysfs.netdevOf(pf)
	if err != nil {
		return nil
	}
	if d, err := host.byName(name, false); err == nil && d.PCI == pf {
		return observedPF(d)
	}
	return nil
}

func observedPF(d *device) *bond.ObservedPF {
	return &bond.ObservedPF{PCI: d.PCI, Name: d.Name, Index: d.Index, MTU: d.MTU, Up: d.Up, Carrier: d.Carrier}
}
