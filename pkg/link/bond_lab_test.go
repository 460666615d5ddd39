//go:build lab

package link

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// inIP are ip's names for options in its JSON, for those that it shows in every mode.
var inIP = map[bond.Option]string{
	bond.OptMode: "mode", bond.OptMiimon: "miimon", bond.OptUpdelay: "updelay", bond.OptDowndelay: "downdelay",
	bond.OptPeerNotifyDelay: "peer_notify_delay", bond.OptArpInterval: "arp_interval", bond.OptArpAllTargets: "arp_all_targets",
	bond.OptPrimaryReselect: "primary_reselect", bond.OptFailOverMac: "fail_over_mac", bond.OptXmitHashPolicy: "xmit_hash_policy",
	bond.OptResendIgmp: "resend_igmp", bond.OptMinLinks: "min_links", bond.OptLpInterval: "lp_interval",
	bond.OptPacketsPerSlave: "packets_per_slave", bond.OptActiveSlave: "active_slave", bond.OptPrimary: "primary",
}

// TestOptionsAsIPShowsThem: options are decoded as by ip.
func TestOptionsAsIPShowsThem(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	g.member("net2")
	options := bond.Options{
		bond.OptMode: "active-backup", bond.OptMiimon: "50", bond.OptUpdelay: "100", bond.OptFailOverMac: "active",
		bond.OptPrimary: "net2", bond.OptPrimaryReselect: "better", bond.OptResendIgmp: "3", bond.OptXmitHashPolicy: "layer2+3",
	}
	g.apply(plan.CreateBond{MemberIndex: plan.OnBond, Name: "bond0", Options: options, MTU: 1450})
	g.in(g.pod, "link", "set", "bond0", "up")
	for _, name := range []string{"net1", "net2"} {
		g.apply(plan.Enslave{Link: g.ref(g.pod, name), Bond: g.ref(g.pod, "bond0")})
	}
	kit.Eventually(g, "the primary is the active member", func() bool {
		o := g.see()
		return o.Members[1].MIIUp && o.Bond.Active == o.Members[1].Link.Index
	})
	o := g.see().Bond
	var shown []struct {
		Info struct {
			Data map[string]any `json:"info_data"`
		} `json:"linkinfo"`
	}
	kit.Must(t, json.Unmarshal(g.in(g.pod, "-d", "-j", "link", "show", "dev", "bond0"), &shown))
	for option, name := range inIP {
		value, ok := shown[0].Info.Data[name]
		if !ok {
			t.Errorf("ip shows no %s: %v", name, shown[0].Info.Data)
			continue
		}
		if got := o.Options[option]; got != fmt.Sprint(value) {
			t.Errorf("%s is %q, ip shows %v", option, got, value)
		}
	}
}

// TestCreateBondWithoutItsPrimary: the primary's VF may be missing when the bond is recreated.
func TestCreateBondWithoutItsPrimary(t *testing.T) {
	g := newFixture(t)
	g.apply(plan.CreateBond{MemberIndex: plan.OnBond, Name: "bond0", Options: bond.Options{
		bond.OptMode: "active-backup", bond.OptPrimary: "net1", bond.OptActiveSlave: "net1",
	}})
	if b := g.see().Bond; b == nil || b.Options[bond.OptMode] != "active-backup" {
		t.Errorf("observed %+v", b)
	}
	err := g.k.Apply(t.Context(), g.r, plan.SetOptions{Bond: g.ref(g.pod, "bond0"), Options: bond.Options{bond.OptPrimary: "net1"}})
	if err == nil || !strings.Contains(err.Error(), "net1") {
		t.Errorf("a primary that is not there: %v", err)
	}
}

// BenchmarkObserve is the cost of a resync of a converged bond: two members, addresses and routes.
func BenchmarkObserve(b *testing.B) {
	g := newFixture(b)
	g.member("net1")
	g.member("net2")
	g.apply(plan.CreateBond{MemberIndex: plan.OnBond, Name: "bond0", Options: bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "50"}})
	g.in(g.pod, "link", "set", "bond0", "up")
	for _, name := range []string{"net1", "net2"} {
		g.apply(plan.Enslave{Link: g.ref(g.pod, name), Bond: g.ref(g.pod, "bond0")})
	}
	g.in(g.pod, "addr", "add", "10.0.0.1/24", "dev", "bond0")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.k.Observe(b.Context(), g.r); err != nil {
			b.Fatal(err)
		}
	}
}

// TestUnknownOption: a kernel silently ignores unknown options, so a new bond is read again and deleted if an option is
// missing.
func TestUnknownOption(t *testing.T) {
	g := newFixture(t)
	create := plan.CreateBond{MemberIndex: plan.OnBond, Name: "bond0", Options: bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptNumPeerNotif: "7"}}
	d := bond.LookupOption(bond.OptNumPeerNotif)
	known := d.Attr
	t.Cleanup(func() { d.Attr = known })
	d.Attr = 200 // unknown to every kernel
	err := g.k.Apply(t.Context(), g.r, create)
	if !errors.Is(err, bond.ErrUnsupported) || !strings.Contains(err.Error(), "numPeerNotif") || !strings.Contains(err.Error(), d.Since) {
		t.Errorf("with an option that the kernel does not know: %v", err)
	}
	if l := g.show(g.pod, "bond0"); l.Index != 0 {
		t.Errorf("the bond was kept: %+v", l)
	}
	d.Attr = known
	g.apply(create)
}
