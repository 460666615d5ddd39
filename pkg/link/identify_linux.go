package link

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/sriovcni"
)

// LinkByName is the link in the sandbox that has a name, its own or an alternative one;
// nil when the name is free. bond.ErrGone means that the sandbox is.
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

// FindMembers notes the identity and the present state of links that are to become
// members. Nothing is changed. Links are found by name; a VF that sriov-cni put into this
// sandbox also by the PCI address that it noted, under another name or in the host, where
// its driver may have left it meanwhile. It is looked for again with every change of
// links until s.Wait has passed.
//
// VF.Settings are those that sriov-cni was asked for, or else all that the PF tells now.
//
// A link that is missing is no error. The error has one line a link that cannot be a
// member; it matches bond.ErrGone when the sandbox is gone.
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
	in, host *conn // host is in when the links are there
	// attached is what sriov-cni noted of each link; nil where it knows none.
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
			l.warn("link %s: %v; what its PF shows now is taken for what was asked", name, unread)
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

// searchOnce looks once.
func (l *memberSearch) searchOnce() (bond.MemberResult, error) {
	before := len(l.warnings)
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
	l.warnings = l.warnings[:before:before] // what is said of a look is said again by the next
	return found, nil
}

// search finds one link by its name, or by what sriov-cni noted.
func (l *memberSearch) search(i int) (bond.MemberLink, error) {
	name, a := l.Names[i], l.attached[i]
	d, err := l.in.deviceByName(name)
	if err == nil && d == nil && a != nil {
		var all devices
		all, err = l.in.linksOf(a.PCI)
		d, _ = all.ofPCI(a.PCI)
	}
	if err != nil {
		return bond.MemberLink{}, err
	}
	if d == nil {
		return l.absent(i)
	}
	if err := l.in.canBeMember(d, name); err != nil {
		return bond.MemberLink{}, err
	}
	if err := l.unambiguous(d, name); err != nil {
		return bond.MemberLink{}, err
	}
	if err := l.hasAddress(d, name); err != nil {
		return bond.MemberLink{}, err
	}
	if a != nil && a.PCI != d.PCI {
		l.warn("link %s: sriov-cni noted that it is VF %s, and it is %q; what its PF shows now is taken for what was asked", name, a.PCI, d.PCI)
		a = nil
	}
	m := memberOf(d, l.place)
	if err := l.identify(&m, d); err != nil {
		return bond.MemberLink{}, err
	}
	if a != nil { // its name may have been changed since
		m.Name, m.Original.Name = name, name
		m.SriovCNI = l.k.sriovFiles(l.Key, name, m.PCI, l.Sandbox)
	}
	return l.withPF(m, a)
}

// unambiguous refuses a link that its PCI address does not identify: a lost one could not be told from another.
func (l *memberSearch) unambiguous(d *device, name string) error {
	if d.PCI == "" {
		return nil
	}
	if representor.MatchString(d.portName) {
		return fmt.Errorf("link %s: it is a representor (port %s) of PCI function %s and not a function of its own", name, d.portName, d.PCI)
	}
	all, err := l.in.linksOf(d.PCI)
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

// hasAddress refuses a VF whose PCI address the kernel does not tell, and warns of a device that has none.
func (l *memberSearch) hasAddress(d *device, name string) error {
	if d.PCI != "" {
		return nil
	}
	bus, parent, err := l.in.parentOf(d)
	if err != nil {
		return err
	}
	warning, err := recognisable(name, bus, parent)
	if warning != "" {
		l.warn("%s", warning)
	}
	return err
}

// withPF adds what is known of a VF's place and settings. A link that is no VF has none, and
// neither has a VF whose PF is out of sight.
func (l *memberSearch) withPF(m bond.Member, a *sriovcni.Attachment) (bond.MemberLink, error) {
	vf, pf, err := l.k.vfState(l.host, m.PCI)
	if vf != nil && pf == nil && l.k.sysfs.withoutNetdev(vf.PF, err) {
		l.warn("link %s (%s): its PF %s has no usable network link (driver %s): %v; settings on the PF can be neither verified nor restored", m.Name, m.PCI, vf.PF, l.k.sysfs.driverOf(vf.PF), err)
		err = nil
	}
	if err != nil {
		return bond.MemberLink{}, fmt.Errorf("link %s (%s): %w", m.Name, m.PCI, err)
	}
	if m.VF = vf; vf != nil && a != nil {
		vf.Settings = a.Asked
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

// vfState is a VF's place on its PF, with all settings there, and its PF; nil for a link that is
// no VF, and for a VF whose PF is out of sight. If the PF has no netdev, or several, the place comes with the error.
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
	if err != nil {
		return vf, nil, fmt.Errorf("ask its PF: %w", err)
	}
	o := observedPF(d)
	if o.VF, err = d.vfSettings(number); err != nil {
		return nil, nil, err
	}
	vf.Settings = o.VF
	return vf, o, nil
}

func observedPF(d *device) *bond.ObservedPF {
	return &bond.ObservedPF{Name: d.Name, Index: d.Index, MTU: d.MTU, Up: d.Up, Carrier: d.Carrier}
}
