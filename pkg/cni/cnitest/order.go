package cnitest

import (
	"fmt"
	"slices"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

var orderScenarios = []scenario{
	{"ADD twice", addTwice, true},
	{"DEL during ADD", delDuringADD, true},
	{"ADD during DEL", addDuringDEL, true},
	{"several bonds in one pod", severalBonds, false},
	{"pod name twice", podNameTwice, false},
	{"many at once", manyAtOnce, true},
}

// addTwice: CNI forbids an ADD after an ADD. The second is rejected and changes nothing. DEL before, between and after
// succeeds.
func addTwice(f *Fixture) {
	args, before := f.OnePod(nil)
	f.MustDel(args)
	for range 2 {
		f.MustAdd(args)
		f.Eventually("an active member", func() bool { return f.Active(args.Netns, "bond0") != "" })
		made, addresses := f.LinkState(), f.Addresses(args.Netns, "bond0")
		_, err := f.Add(args)
		WantError(f, err, types.ErrInvalidEnvironmentVariables, "c1@bond0", "DEL comes before another ADD")
		f.WantLinks(made)
		if got := f.Addresses(args.Netns, "bond0"); !slices.Equal(got, addresses) || len(f.Leases()) != 1 {
			f.Errorf("addresses %q, leases %v", got, f.Leases())
		}
		f.MustDel(args)
		f.WantNothingLeft(before)
		f.MustDel(args)
	}
}

// WantReady checks that the record and the only lease are those of a successful ADD, and deletes its bond.
func (f *Fixture) WantReady(args *skel.CmdArgs, before string) {
	f.Helper()
	r := f.Record(args.ContainerID)
	if leases := f.Leases(); r.Phase != "ready" || len(leases) != 1 || len(r.Addresses) != 1 || r.Addresses[0].Prefix.Addr().String() != leases[0] {
		f.Errorf("record is %s with addresses %v, leases %v; want the new ADD's", r.Phase, r.Addresses, leases)
	}
	if got := f.Addresses(args.Netns, "bond0"); len(got) != 1 || len(r.Addresses) != 1 || got[0] != r.Addresses[0].Prefix.String() {
		f.Errorf("the bond has addresses %q", got)
	}
	f.MustDel(args)
	f.WantNothingLeft(before)
}

// delDuringADD: DEL wins. It waits for IPAM, and releases the address that the ADD got after DEL started.
func delDuringADD(f *Fixture) {
	g := NewHeldIPAM(f, "ADD")
	pod := f.Pod("p1", 0)
	before := f.LinkState()
	args := g.Args(pod)
	added := f.Start("ADD", args)
	g.AwaitCall()
	deleted := f.Start("DEL", args)
	f.Eventually("the tombstone", func() bool { return f.Record("c1").Deleted() })
	g.Open()
	WantError(f, <-added, types.ErrTryAgainLater, "overtaken")
	f.Must(<-deleted)
	f.WantNothingLeft(before)
}

// addDuringDEL: an ADD waits for a DEL whose call of IPAM still runs, and keeps the address that it gets.
func addDuringDEL(f *Fixture) {
	g := NewHeldIPAM(f)
	pod := f.Pod("p1", 0)
	before := f.LinkState()
	args := g.Args(pod)
	f.MustAdd(args)
	g.AddDuringDEL(args, before)
}

// severalBonds: each is added and deleted without an effect on the others, and none takes another's links.
func severalBonds(f *Fixture) {
	pod := f.Pod("p1", 0)
	for _, name := range []string{"a1", "a2", "b1", "b2"} {
		_, err := f.AddVirtual(pod, name)
		f.Must(err)
	}
	before := f.LinkState()
	args := func(i, mode int, links ...string) *skel.CmdArgs {
		a := f.Args("c1", pod, f.Config(map[string]any{"mode": mode, "failOverMac": nil, "links": Links(links...)}))
		a.IfName = fmt.Sprintf("bond%d", i)
		return a
	}
	all := []*skel.CmdArgs{args(0, 1, "net1", "net2"), args(1, 0, "a1", "a2"), args(2, 4, "b1", "b2")}
	results := make([]*current.Result, len(all))
	for i, a := range all {
		results[i] = f.MustAdd(a)
	}
	if leases := f.Leases(); len(leases) != 3 {
		f.Errorf("leases %v", leases)
	}
	_, err := f.Add(args(3, 0, "a1", "b2"))
	WantError(f, err, types.ErrInvalidNetworkConfig, "a1", fmt.Sprintf("ifindex %d", f.LinkAt(pod, "bond1").Index))
	f.MustDel(all[1])
	for name, bondName := range map[string]string{"net1": "bond0", "net2": "bond0", "a1": "", "a2": "", "b1": "bond2", "b2": "bond2"} {
		b, _ := f.Link(pod, bondName)
		if l := f.LinkAt(pod, name); l.Master != b.Index {
			f.Errorf("%s is %+v, want it in %q", name, l, bondName)
		}
	}
	for _, i := range []int{0, 2} {
		f.MustCheck(all[i], results[i])
		f.MustDel(all[i])
	}
	f.WantNothingLeft(before)
}

// podNameTwice: a pod is recreated under its name while the old one's sandbox still exists.
func podNameTwice(f *Fixture) {
	var all []*skel.CmdArgs
	for _, id := range []string{"old", "new"} {
		pod := f.EmptyPod(id)
		for _, name := range []string{"net1", "net2"} {
			_, err := f.AddVirtual(pod, name)
			f.Must(err)
		}
		args := f.Args(id, pod, f.Config(map[string]any{"failOverMac": nil}))
		args.Args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=web-0"
		all = append(all, args)
	}
	before := f.LinkState()
	f.MustAdd(all[0])
	result := f.MustAdd(all[1])
	if l := f.Leases(); len(l) != 2 {
		f.Errorf("leases: %v", l)
	}
	f.MustDel(all[0])
	_, old := f.Link(all[0].Netns, "bond0")
	if l := f.Leases(); old || len(l) != 1 {
		f.Errorf("after the old one's DEL its bond exists: %t, leases %v", old, l)
	}
	f.MustCheck(all[1], result)
	f.MustDel(all[1])
	f.WantNothingLeft(before)
}

// manyAtOnce: many concurrent ADDs of bonds of all modes, each in its own pod, and then as many DELs; nothing is left.
func manyAtOnce(f *Fixture) {
	many := 24
	if f.Slow() { // each is a process, and an ADD has two minutes
		many = 8
	}
	all := make([]*skel.CmdArgs, many)
	for i := range all {
		pod := f.EmptyPod(fmt.Sprint("p", i))
		for _, name := range []string{"leg1", "leg2"} {
			_, err := f.AddVirtual(pod, name)
			f.Must(err)
		}
		all[i] = f.Args(fmt.Sprint("c", i), pod, f.Config(map[string]any{"mode": i % 7, "failOverMac": nil, "links": Links("leg1", "leg2")}))
	}
	before := f.LinkState()
	ips := make([]string, many)
	f.Must(InParallel(many, func(i int) error {
		result, err := f.Add(all[i])
		if err == nil && len(result.IPs) == 1 {
			ips[i] = result.IPs[0].Address.String()
		}
		return err
	}))
	for _, args := range all {
		if !f.LinkAt(args.Netns, "bond0").Up || !f.InBond(args.Netns, "leg1") || !f.InBond(args.Netns, "leg2") {
			f.Errorf("pod %s:\n%s", args.Netns, f.LinkState())
		}
	}
	slices.Sort(ips)
	if distinct := slices.Compact(ips); len(distinct) != many || len(f.Leases()) != many {
		f.Errorf("%d different addresses, leases %v for %d pods", len(distinct), f.Leases(), many)
	}
	f.Must(InParallel(many, func(i int) error { return f.Del(all[i]) }))
	f.WantNothingLeft(before)
}
