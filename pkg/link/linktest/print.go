package linktest

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// String prints the complete state: each netns with its links, each PF with its VFs. The same state always gives the
// same text.
func (f *Fake) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text()
}

func (f *Fake) text() string {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(f.spaces)) {
		if path == Host {
			fmt.Fprintf(&b, "host\n")
		} else {
			fmt.Fprintf(&b, "netns %s\n", path)
		}
		for _, d := range f.spaces[path].sorted() {
			d.print(&b)
		}
	}
	for _, p := range f.pfs {
		p.print(&b)
	}
	return b.String()
}

func (d *netdev) print(b *strings.Builder) {
	fmt.Fprintf(b, "  %d: %s %s mac %s mtu %d %s\n", d.index, d.name, d.what(), d.mac, d.mtu, d.state())
	if d.bond != nil {
		fmt.Fprintf(b, "      %s\n", d.bond.differing())
	}
	if c := d.settings.Diff(newSettings()); !c.Empty() {
		fmt.Fprintf(b, "      settings %s\n", c)
	}
	for _, a := range slices.SortedFunc(slices.Values(d.addrs), func(x, y netip.Prefix) int { return x.Compare(y) }) {
		fmt.Fprintf(b, "      address %s\n", a)
	}
	byText := func(x, y bond.Route) int { return cmp.Compare(x.String(), y.String()) }
	for _, r := range slices.SortedFunc(slices.Values(d.routes), byText) {
		fmt.Fprintf(b, "      route %s\n", r)
	}
}

func (d *netdev) what() string {
	switch {
	case d.pf != nil:
		return "PF " + string(d.pf.pci)
	case d.vf != nil:
		return "VF " + string(d.vf.pci)
	default:
		return d.kind
	}
}

func (d *netdev) state() string {
	s := "down"
	if d.up {
		s = "up"
	}
	if d.up && !d.carrier() {
		s += " no-carrier"
	}
	if d.upper != nil {
		s += " master " + d.upper.name
	}
	if d.master != nil {
		s += " master " + d.master.name
		if d.master.bond.active == d && d.master.bond.usesPrimary() {
			s += " active"
		}
		if d.queueID != 0 || d.prio != 0 {
			s += fmt.Sprintf(" queue %d prio %d", d.queueID, d.prio)
		}
	}
	return s
}

// differing are the mode and all options that differ from the kernel's defaults.
func (b *bonding) differing() bond.Options {
	opts := b.reported()
	for name, value := range kernelDefaults() {
		if name != bond.OptMode && opts[name] == value {
			delete(opts, name)
		}
	}
	delete(opts, bond.OptActiveSlave) // it is printed with the member
	if b.primaryName != "" {
		opts[bond.OptPrimary] = b.primaryName
	}
	return opts
}

func (p *pf) print(b *strings.Builder) {
	state := "bound"
	if p.link == nil {
		state = "unbound"
	}
	fmt.Fprintf(b, "PF %s %s %s\n", p.name, p.pci, state)
	for _, v := range p.vfs {
		fmt.Fprintf(b, "  VF %d %s: %s", v.number, v.pci, v.settings)
		if v.link == nil {
			b.WriteString(" unbound")
		}
		if v.dead != 0 {
			fmt.Fprintf(b, " dead %d", v.dead)
		}
		b.WriteByte('\n')
	}
}
