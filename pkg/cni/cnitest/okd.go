package cnitest

import (
	"net/netip"
	"slices"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// okdPage is what the OKD page describes: ADD, CHECK, DEL, DEL.
func okdPage(f *Fixture) {
	pod := f.Pod("p1", 0)
	before := f.LinkState()
	args := f.Args("c1", pod, f.Config(nil))
	net1, net2 := f.LinkAt(pod, "net1"), f.LinkAt(pod, "net2")
	result := f.MustAdd(args)

	b := f.LinkAt(pod, "bond0")
	for _, m := range []bond.Link{net1, net2} {
		if now := f.LinkAt(pod, m.Name); now.Master != b.Index || !now.Up || now.MAC != m.MAC {
			f.Errorf("member %s: got %+v, want it up in the bond with MAC %s", m.Name, now, m.MAC)
		}
	}
	if b.Kind != "bond" || !b.Up || b.MTU != 1500 {
		f.Errorf("bond: got %+v", b)
	}
	wantOKDResult(f, pod, b, result)
	wantOKDRecord(f, b, result)
	if f.Logged() != "" {
		f.Errorf("ADD logs: %s", f.Logged())
	}
	f.Eventually("the bond is settled and has its MAC", func() bool {
		f.Converge("c1")
		r := f.Record("c1")
		return r.Settled && f.LinkAt(pod, "bond0").MAC == r.Spec.MAC
	})
	if mac := f.LinkAt(pod, f.Active(pod, "bond0")).MAC; f.LinkAt(pod, "bond0").MAC != mac {
		f.Errorf("the bond has MAC %s, its active member %s", f.LinkAt(pod, "bond0").MAC, mac)
	}
	made := f.LinkState()
	f.MustCheck(args, result)
	f.WantLinks(made)
	for range 2 {
		f.MustDel(args)
		f.WantNothingLeft(before)
	}
}

func wantOKDResult(f *Fixture, pod string, b bond.Link, result *current.Result) {
	f.Helper()
	if i := result.Interfaces; len(i) != 1 || i[0].Name != "bond0" || i[0].Mac != string(b.MAC) || i[0].Sandbox != pod {
		f.Errorf("result's interfaces: %v", i)
	}
	if len(result.IPs) != 1 || result.IPs[0].Address.String() != "10.56.217.2/24" || *result.IPs[0].Interface != 0 || result.IPs[0].Gateway.String() != "10.56.217.1" {
		f.Errorf("result's IPs: %v", result.IPs)
	}
	if len(result.Routes) != 1 || result.Routes[0].Dst.String() != "0.0.0.0/0" {
		f.Errorf("result's routes: %v", result.Routes)
	}
	if got := f.Addresses(pod, "bond0"); !slices.Equal(got, []string{"10.56.217.2/24"}) {
		f.Errorf("addresses %v", got)
	}
	if got := f.Routes(pod, "bond0"); !slices.Equal(got, []string{"0.0.0.0/0 via 10.56.217.1"}) {
		f.Errorf("routes %v", got)
	}
}

func wantOKDRecord(f *Fixture, b bond.Link, result *current.Result) {
	f.Helper()
	want := &bond.Record{
		Key: bond.Key{ContainerID: "c1", IfName: "bond0"}, Phase: bond.PhaseReady, Network: "bond-net1",
		Pod: bond.Pod{Namespace: "demo", Name: "c1", UID: "uid-c1"},
		Spec: bond.Spec{
			Options: bond.Options{bond.OptMode: "active-backup", bond.OptFailOverMac: "active", bond.OptMiimon: "100"},
			MTU:     1500, MAC: bond.MAC(result.Interfaces[0].Mac), Enforce: bond.EnforceAll,
		},
		BondIndex: b.Index,
		Addresses: []bond.Address{{Prefix: netip.MustParsePrefix("10.56.217.2/24"), Gateway: netip.MustParseAddr("10.56.217.1")}},
		Routes:    []bond.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.56.217.1")}},
		CNI:       bond.CNI{Args: f.Args("c1", "", nil).Args, Path: f.PluginDir()},
	}
	got := f.Record("c1")
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(bond.Record{}, "Sandbox", "Members", "Created", "Updated", "Setup", "Learned", "Settled"),
		cmpopts.IgnoreFields(bond.CNI{}, "Config"), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		f.Errorf("record differs (-want +got):\n%s", diff)
	}
	if !got.InSetup() || got.Learned == nil || got.Members[0].Settings == nil || got.Sandbox.Path != "/run/netns/p1" {
		f.Errorf("ADD leaves sandbox %+v, set-up %+v, learned %v, settings of net1 %v", got.Sandbox, got.Setup, got.Learned, got.Members[0].Settings)
	}
}
