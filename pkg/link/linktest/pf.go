package linktest

import (
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// pf is a card's physical function.
type pf struct {
	fake *Fake
	pci  bond.PCIAddress
	name string  // of its netdev after every bind, by the host's own rules
	link *netdev // nil while no driver is bound
	wire bool    // the cable
	vfs  []*vf
	// noLinkState: the driver rejects link-state requests (as igb does).
	noLinkState bool
	lateMACs    bool // see LateMACs
}

// vf is one virtual function with its settings on the PF.
type vf struct {
	pf       *pf
	pci      bond.PCIAddress
	number   int
	settings bond.VFSettings // all supported ones; MAC is zero while none was set on the PF
	admin    bool            // the MAC was set on the PF, not by the VF's driver
	link     *netdev         // nil while no driver is bound
	card     bond.MAC        // set in the card by its driver
	pending  bond.MAC        // requested by its driver, and not accepted by the PF yet
	probing  bool            // its driver is bound and has created no link yet
	dead     int             // bounces until the carrier returns after a reset; -1: never
	rdma     string          // its RDMA device; empty if there is none
	rdmaIn   *space          // the netns of that device
}

// AddPF makes a card, up and cabled, without VFs. Its VFs have the addresses of an Intel 82576: PF 0000:01:00.0 has
// 0000:01:10.0, 0000:01:10.2, ….
func (f *Fake) AddPF(name string, pci bond.PCIAddress) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := fmt.Sscanf(string(pci[:len(pci)-1]), "%04x:%02x:00.", new(int), new(int)); err != nil {
		return fmt.Errorf("PF %s: want domain:bus:00.function: %w", pci, err)
	}
	if f.pfByName(name) != nil {
		return fmt.Errorf("PF %s is there already", name)
	}
	p := &pf{fake: f, pci: pci, name: name, wire: true}
	f.pfs = append(f.pfs, p)
	p.bind()
	p.link.up = true
	return nil
}

// pfByName finds a card by its name or its PCI address.
func (f *Fake) pfByName(name string) *pf {
	for _, p := range f.pfs {
		if p.name == name || string(p.pci) == name {
			return p
		}
	}
	return nil
}

func (f *Fake) pfByPCI(pci bond.PCIAddress) *pf {
	for _, p := range f.pfs {
		if p.pci == pci {
			return p
		}
	}
	return nil
}

func (f *Fake) vfByPCI(pci bond.PCIAddress) *vf {
	for _, p := range f.pfs {
		for _, v := range p.vfs {
			if v.pci == pci {
				return v
			}
		}
	}
	return nil
}

// VFs returns the PCI addresses of a PF's VFs, by number.
func (f *Fake) VFs(pfName string) []bond.PCIAddress {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []bond.PCIAddress
	if p := f.pfByName(pfName); p != nil {
		for _, v := range p.vfs {
			all = append(all, v.pci)
		}
	}
	return all
}

// VF is the PF's report about a VF: its number and all its settings.
func (f *Fake) VF(pci bond.PCIAddress) (bond.VF, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.vfByPCI(pci)
	if v == nil {
		return bond.VF{}, false
	}
	return bond.VF{PF: v.pf.pci, Number: v.number, Settings: v.settings}, true
}

func (p *pf) bind() {
	host := p.fake.spaces[Host]
	mac := p.fake.randomMAC()
	name := p.name
	if host.byName(name) != nil {
		name = host.freeName("eth")
	}
	p.link = host.add(&netdev{name: name, mac: mac, perm: mac, mtu: 1500, pf: p})
}

// setNumVFs deletes all VFs and makes n new ones with default settings.
func (p *pf) setNumVFs(n int) {
	for _, v := range p.vfs {
		v.unbind()
	}
	p.vfs = nil
	for i := range n {
		v := &vf{pf: p, number: i, pci: p.vfAddress(i), settings: vfDefaults()}
		p.vfs = append(p.vfs, v)
		v.bind()
	}
}

// vfAddress: the first VF is 0x80 functions after the PF, and each further one two after the last.
func (p *pf) vfAddress(n int) bond.PCIAddress {
	var domain, bus, fn int
	_, _ = fmt.Sscanf(string(p.pci), "%04x:%02x:00.%d", &domain, &bus, &fn) // AddPF has checked it
	devfn := fn + 0x80 + 2*n
	return bond.PCIAddress(fmt.Sprintf("%04x:%02x:%02x.%d", domain, bus, devfn>>3, devfn&7))
}

func vfDefaults() bond.VFSettings {
	zero := bond.MAC("00:00:00:00:00:00")
	return bond.VFSettings{
		MAC: &zero, VLAN: &bond.VLAN{}, Rate: &bond.VFRate{},
		SpoofChk: new(true), Trust: new(false), LinkState: new(uint32(0)),
	}
}

// bind makes the netdev, in the host, down, with the MAC that the PF has for it; if the PF has none, the driver chooses
// one.
func (v *vf) bind() { v.bindIn(v.pf.fake.spaces[Host]) }

// bindIn is bind in any netns.
func (v *vf) bindIn(s *space) {
	v.probing = false
	if v.link != nil {
		return
	}
	v.rdmaIn = s
	d := &netdev{name: s.freeName("eth"), mtu: 1500, vf: v}
	if v.settings.MAC.IsZero() {
		d.mac = v.pf.fake.randomMAC()
	} else {
		d.mac = *v.settings.MAC
		d.perm = d.mac
	}
	v.dead, v.card, v.pending = 0, d.mac, ""
	v.link = s.add(d)
}

func (v *vf) unbind() {
	v.probing = false
	if v.link != nil {
		v.link.unregister()
		v.link, v.rdmaIn = nil, nil
	}
}

// opened: the driver sends its MAC to the PF, and the carrier may return after a reset.
func (v *vf) opened() {
	v.reported()
	if v.dead > 0 {
		v.dead--
	}
}

// reported: a MAC that was set on the PF is not overwritten by the VF's driver.
func (v *vf) reported() {
	if !v.admin {
		v.settings.MAC = new(v.card)
	}
}

// mayUse reports whether the driver accepts a MAC for the VF: only the one that was set on the PF, unless the VF is
// trusted (i40e, ice).
func (v *vf) mayUse(m bond.MAC) error {
	if v.admin && !*v.settings.Trust && m != *v.settings.MAC {
		return fmt.Errorf("VF %s: PF %s has set its MAC to %s and does not trust it with %s",
			v.pci, v.pf.name, *v.settings.MAC, m)
	}
	return nil
}

// restore is what RTM_SETLINK with IFLA_VFINFO_LIST does. A MAC takes effect in the VF when its driver is bound the
// next time.
func (v *vf) restore(s bond.VFSettings) error {
	if s.LinkState != nil && v.pf.noLinkState {
		return fmt.Errorf("PF %s takes no link state for its VFs: %w", v.pf.name, bond.ErrUnsupported)
	}
	if s.MAC != nil {
		v.admin = !s.MAC.IsZero()
	}
	have := &v.settings
	have.MAC = either(s.MAC, have.MAC)
	have.VLAN = either(s.VLAN, have.VLAN)
	have.Rate = either(s.Rate, have.Rate)
	have.SpoofChk = either(s.SpoofChk, have.SpoofChk)
	have.Trust = either(s.Trust, have.Trust)
	have.LinkState = either(s.LinkState, have.LinkState)
	return nil
}

// either is a copy of want if it is set, otherwise of have. Values are never changed in place, because callers have
// them.
func either[T any](want, have *T) *T {
	if want == nil {
		return have
	}
	return new(*want)
}
