package linktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var walkCases = []contractCase{
	{"a random walk with fail_over_mac=active goes as on the fake", bonding_, func(s *fixture) { s.walk(1, activeBackup()) }},
	{"a random walk with fail_over_mac=follow goes as on the fake", bonding_, func(s *fixture) { s.walk(2, activeBackup(string(bond.OptFailOverMac), "follow")) }},
	{"a random walk with one MAC goes as on the fake", bonding_, func(s *fixture) { s.walk(3, activeBackup(string(bond.OptFailOverMac), "none")) }},
	{"a random walk in balance-rr goes as on the fake", bonding_, func(s *fixture) { s.walk(4, bond.Options{bond.OptMode: "balance-rr", bond.OptMiimon: "50"}) }},
	{"a random walk in balance-tlb goes as on the fake", bonding_, func(s *fixture) { s.walk(6, bond.Options{bond.OptMode: "balance-tlb", bond.OptMiimon: "50"}) }},
	{"a random walk in balance-alb goes as on the fake", bonding_, func(s *fixture) { s.walk(5, bond.Options{bond.OptMode: "balance-alb", bond.OptMiimon: "50"}) }},
}

const walkSteps = 40

// walker is one side of a walk: the kernel under test, or a fake.
type walker struct {
	Kernel
	links interface {
		SetUp(path, name string) error
		SetDown(path, name string) error
		FlushAddresses(path, name string) error
		Rename(path, name, to string) error
	}
	ctx context.Context //nolint:containedctx // that of the test
	r   *bond.Record
	now bond.Observed
}

var errNothing = errors.New("nothing to do it to")

// walk makes the same steps on the kernel and on a fake. After each, both must be in the same state.
func (s *fixture) walk(seed uint64, options bond.Options) {
	real := &walker{Kernel: s.w, links: s.w, ctx: s.Context(), r: s.r}
	fake := s.fakeWalker()
	both := []*walker{real, fake}
	random := rand.New(rand.NewPCG(seed, 0))
	steps := []string{"create " + options.String()}
	for _, w := range both {
		s.must(w.create(options), "create a bond")
	}
	s.alike(both, steps)
	for range walkSteps {
		name, step := pick(random, options, s.env.VFs)
		steps = append(steps, name)
		var errs [2]error
		for i, w := range both {
			errs[i] = step(w)
		}
		if class(errs[0]) != class(errs[1]) {
			s.Fatalf("%s: the kernel says %v, the fake %v\nsteps: %q", name, errs[0], errs[1], steps)
		}
		s.alike(both, steps)
	}
}

// fakeWalker is a fake with the same members.
func (s *fixture) fakeWalker() *walker {
	f := New()
	r := &bond.Record{Key: s.r.Key, Sandbox: f.AddPod(s.path)}
	for i := range s.r.Members {
		name := s.r.Members[i].Name
		m := bond.Member{Name: name}
		if s.env.VFs {
			pf := fmt.Sprintf("pf%d", i)
			s.must(f.AddPF(pf, bond.PCIAddress(fmt.Sprintf("0000:0%d:00.0", i+1))), "add a PF")
			s.must(f.SetNumVFs(pf, 1), "add a VF")
			m.PCI = f.VFs(pf)[0]
			s.must(f.MoveToNetns(Host, "eth0", s.path, name), "move a VF")
		} else {
			_, err := f.AddVirtual(s.path, name)
			s.must(err, "add a link")
		}
		l, _ := f.Link(s.path, name)
		m.Index, m.PermMAC, m.MAC = l.Index, l.PermMAC, l.MAC
		r.Members = append(r.Members, m)
	}
	return &walker{Kernel: f, links: f, ctx: s.Context(), r: r}
}

// alike waits until both have the same state.
func (s *fixture) alike(both []*walker, steps []string) {
	s.Helper()
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(observeEach)
	defer tick.Stop()
	for {
		var observations [2]string
		for i, w := range both {
			var err error
			w.now, err = w.Observe(s.Context(), w.r)
			s.must(err, "observe")
			observations[i] = w.render()
		}
		if observations[0] == observations[1] {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("the kernel\n%sthe fake\n%ssteps: %q", observations[0], observations[1], steps)
		}
		<-tick.C
	}
}

func class(err error) string {
	for _, c := range []error{bond.ErrGone, bond.ErrStale, bond.ErrBusy, errNothing} {
		if errors.Is(err, c) {
			return c.Error()
		}
	}
	if err != nil {
		return "rejected"
	}
	return ""
}

// render is all state that must be equal, as text, without indexes and random values.
func (w *walker) render() string {
	var b strings.Builder
	seen := map[bond.MAC]string{}
	for i := range w.r.Members {
		seen[w.r.Members[i].MAC] = "own" + w.r.Members[i].Name
	}
	mac := func(m bond.MAC) string {
		if strings.HasPrefix(string(m), "02:be:ef:") {
			return string(m)
		}
		if _, known := seen[m]; !known {
			seen[m] = fmt.Sprintf("random%d", len(seen))
		}
		return seen[m]
	}
	o := still(w.now)
	if o.Bond != nil {
		carrier := w.now.Bond.Carrier
		routes := make([]string, 0, len(o.Bond.Routes))
		for _, r := range o.Bond.Routes {
			routes = append(routes, r.String())
		}
		slices.Sort(routes)
		fmt.Fprintf(&b, "  bond %s up %t carrier %t mac %s mtu %d active %s members %t %v %v\n    %s\n", o.Bond.Name, o.Bond.Up, carrier,
			mac(o.Bond.MAC), o.Bond.MTU, w.nameOf(o.Bond.Active), o.Bond.HasMembers, o.Bond.Addresses, routes, o.Bond.Options)
	}
	for _, m := range w.now.Members {
		l := m.Link
		fmt.Fprintf(&b, "  %s %s up %t carrier %t (%t) mac %s mtu %d enslaved %t\n", l.Name, m.Location, l.Up, l.Carrier, m.MIIUp, mac(l.MAC), l.MTU, l.Master != 0)
	}
	return b.String()
}

func (w *walker) nameOf(index int) string {
	for _, m := range w.now.Members {
		if m.Link.Index == index {
			return m.Link.Name
		}
	}
	return "-"
}

func (w *walker) apply(a plan.Action) error { return w.Apply(w.ctx, w.r, a) }

func (w *walker) create(o bond.Options) error {
	return w.apply(plan.CreateBond{Name: w.r.Key.IfName, Options: o})
}

func (w *walker) link(i int) plan.LinkRef { return plan.LinkRefOf(bond.InPod, &w.now.Members[i].Link) }

// onBond applies an action to the bond, if there is one.
func (w *walker) onBond(make func(plan.LinkRef) plan.Action) error {
	if w.now.Bond == nil {
		return errNothing
	}
	return w.apply(make(plan.LinkRefOf(bond.InPod, &w.now.Bond.Link)))
}

type walkStep func(*walker) error

// pick chooses the next step.
func pick(r *rand.Rand, options bond.Options, vfs bool) (string, walkStep) {
	i, n := r.IntN(2), r.IntN(4)
	name := []string{"net1", "net2"}[i]
	steps := append(memberSteps(i, name, n), bondSteps(i, name, n, options)...)
	if vfs { // drivers restart a VF for it, and sometimes a monitor notices
		steps = slices.DeleteFunc(steps, func(s named) bool { return strings.HasPrefix(s.name, "set MTU") })
	}
	if m := options.Mode(); m == bond.ModeTLB || m == bond.ModeALB {
		// The fake models how these swap MACs, but not how they resolve collisions.
		steps = slices.DeleteFunc(steps, func(s named) bool { return strings.HasPrefix(s.name, "set MAC") })
	}
	s := steps[r.IntN(len(steps))]
	return s.name, s.do
}

type named struct {
	name string
	do   walkStep
}

func memberSteps(i int, name string, n int) []named {
	enslave := named{"enslave " + name, func(w *walker) error {
		if l := w.now.Members[i].Link; l.Up && l.Master == 0 {
			if err := w.apply(plan.SetDown{Link: w.link(i)}); err != nil {
				return err
			}
		}
		return w.onBond(func(b plan.LinkRef) plan.Action { return plan.Enslave{Link: w.link(i), Bond: b} })
	}}
	return []named{
		enslave, enslave, enslave, // otherwise the bond would mostly be empty
		{"release " + name, func(w *walker) error { return w.apply(plan.Release{Link: w.link(i)}) }},
		{"set down " + name, func(w *walker) error { return w.links.SetDown(w.r.Sandbox.Path, w.now.Members[i].Link.Name) }},
		{"set up " + name, func(w *walker) error { return w.links.SetUp(w.r.Sandbox.Path, w.now.Members[i].Link.Name) }},
		{fmt.Sprintf("set MAC %d of %s", n, name), func(w *walker) error { return w.apply(plan.SetMAC{Link: w.link(i), MAC: otherMAC(n)}) }},
		{fmt.Sprintf("set MTU %d of %s", 1300+n, name), func(w *walker) error { return w.apply(plan.SetMTU{Link: w.link(i), MTU: 1300 + n}) }},
		{"hide " + name, func(w *walker) error { return w.apply(plan.Rename{Link: w.link(i), To: "hidden"}) }},
		{"show " + name, func(w *walker) error { return w.apply(plan.Rename{Link: w.link(i), To: name}) }},
		{"make active " + name, func(w *walker) error {
			return w.onBond(func(b plan.LinkRef) plan.Action { return plan.SetActive{Link: w.link(i), Bond: b} })
		}},
	}
}

func bondSteps(i int, name string, n int, options bond.Options) []named {
	set := func(o bond.Option, value string) named {
		return named{fmt.Sprintf("set %s=%s", o, value), func(w *walker) error {
			return w.onBond(func(b plan.LinkRef) plan.Action { return plan.SetOptions{Bond: b, Options: bond.Options{o: value}} })
		}}
	}
	on := func(name string, make func(plan.LinkRef) plan.Action) named {
		return named{name, func(w *walker) error { return w.onBond(make) }}
	}
	up := on("set the bond up", func(b plan.LinkRef) plan.Action { return plan.SetUp{Link: b} })
	return []named{
		up, up, up,
		on("set the bond down", func(b plan.LinkRef) plan.Action { return plan.SetDown{Link: b} }),
		on(fmt.Sprintf("set MAC %d of the bond", n+8), func(b plan.LinkRef) plan.Action { return plan.SetMAC{Link: b, MAC: otherMAC(n + 8)} }),
		on(fmt.Sprintf("set MTU %d of the bond", 1400+n), func(b plan.LinkRef) plan.Action { return plan.SetMTU{Link: b, MTU: 1400 + n} }),
		on("add addresses", func(b plan.LinkRef) plan.Action { return plan.AddAddress{Bond: b, Prefix: []netip.Prefix{v4, v6}[i]} }),
		on("add a route", func(b plan.LinkRef) plan.Action {
			return plan.AddRoute{Bond: b, Route: []bond.Route{{Dst: dst4, Gateway: gw4}, {Dst: dst6, Gateway: gw6}}[i]}
		}),
		{"flush addresses", func(w *walker) error {
			if w.now.Bond == nil {
				return errNothing
			}
			return w.links.FlushAddresses(w.r.Sandbox.Path, w.now.Bond.Name)
		}},
		set(bond.OptPrimary, []string{name, ""}[n%2]),
		set(bond.OptPrimaryReselect, []string{"always", "better", "failure", "failure"}[n]),
		set(bond.OptMiimon, []string{"50", "60", "0", "50"}[n]),
		set(bond.OptUpdelay, "0"),
		{"delete or recreate the bond", func(w *walker) error {
			if w.now.Bond != nil {
				return w.onBond(func(b plan.LinkRef) plan.Action { return plan.DeleteBond{Bond: b} })
			}
			return w.create(options)
		}},
	}
}
