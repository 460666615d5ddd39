package cnitest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
)

var linkScenarios = []scenario{
	{"start degraded", startDegraded, false},
	{"start degraded with a known VF", startDegradedKnown, false},
	{"start degraded without links", startDegradedEmpty, false},
	{"link timeout", linkTimeout, false},
	{"single link", singleLink, false},
	{"link settings", linkSettings, false},
	{"MTU", mtu, false},
	{"warnings", warnings, false},
	{"warning of one PF", warningOnePF, false},
}

// startDegraded: with a missing link ADD fails, unless startDegraded allows it. Without sriov-cni's cache the missing
// link has no identity, and no link with its name is taken for it.
func startDegraded(f *Fixture) {
	pod := f.Pod("p1", 0)
	vf := f.VF(1, 0)
	f.Unbind(vf)
	before := f.LinkState()
	args := f.Args("c1", pod, f.Config(nil))
	_, err := f.Add(args)
	WantError(f, err, types.ErrInvalidNetworkConfig, "links", "net2", "the pod")
	f.WantNothingLeft(before)

	args.StdinData = f.Config(map[string]any{"startDegraded": true})
	result := f.MustAdd(args)
	if !strings.Contains(f.Logged(), "net2") {
		f.Errorf("the missing link is not logged: %s", f.Logged())
	}
	r := f.Record("c1")
	if m := r.Members[1]; len(r.Members) != 2 || m.Name != "net2" || !m.Unidentified || m.PCI != "" {
		f.Errorf("recorded as %+v", m)
	}
	f.MustCheck(args, result)
	f.Must(f.BindVF(vf), f.MoveToNetns(linktest.Host, f.HostName(vf), pod, "net2"))
	f.Converge("c1")
	if f.InBond(pod, "net2") {
		f.Error("a link was taken by its name")
	}
	f.MustCheck(args, result)
	f.Unbind(vf)
	f.MustDel(args)
	f.WantNothingLeft(before)
}

// startDegradedKnown: the error names a missing VF that is in sriov-cni's cache. With startDegraded it joins the bond
// when it appears, with its name and its MAC.
func startDegradedKnown(f *Fixture) {
	pod := f.Pod("p1", 0)
	vf := f.VF(1, 0)
	f.CacheVF(pod, "net2")
	mac := f.LinkAt(pod, "net2").MAC
	f.Unbind(vf)
	args := f.Args("c1", pod, f.Config(nil))
	_, err := f.Add(args)
	WantError(f, err, types.ErrInvalidNetworkConfig, string(vf))
	args.StdinData = f.Config(map[string]any{"startDegraded": true})
	f.MustCheck(args, f.MustAdd(args))
	if m := f.Record("c1").Members[1]; m.PCI != vf || m.MAC != mac || m.Unidentified || (m.VF != nil) != f.PFSettings() {
		f.Fatalf("recorded as %+v", m)
	}
	f.Must(f.BindVF(vf))
	f.Eventually("net2 in the bond", func() bool { f.Converge("c1"); return f.InBond(pod, "net2") })
	if l := f.LinkAt(pod, "net2"); l.MAC != mac || !l.Up {
		f.Errorf("it has come and is %+v", l)
	}
	f.MustDel(args)
	if l := f.LinkAt(pod, "net2"); l.Master != 0 || l.MAC != mac {
		f.Errorf("after DEL it is %+v", l)
	}
}

// startDegradedEmpty: without any link there is no bond.
func startDegradedEmpty(f *Fixture) {
	pod := f.Pod("p1", 0)
	f.Unbind(f.VF(0, 0))
	f.Unbind(f.VF(1, 0))
	before := f.LinkState()
	_, err := f.Add(f.Args("c1", pod, f.Config(map[string]any{"startDegraded": true})))
	WantError(f, err, types.ErrInvalidNetworkConfig, "net1", "net2")
	f.WantNothingLeft(before)
}

// linkTimeout: ADD waits for a link for the configured time: in the pod or, if sriov-cni's cache names it, in the host.
func linkTimeout(f *Fixture) {
	pod := f.Pod("p1", 0)
	vf := f.VF(1, 0)
	args := f.Args("c1", pod, f.Config(map[string]any{"linkTimeout": 60}))
	for _, known := range []bool{false, true} {
		if known {
			f.CacheVF(pod, "net2")
		}
		f.Unbind(vf)
		added := f.Start("ADD", args)
		f.AwaitSearch(added)
		f.Must(f.BindVF(vf))
		if !known {
			f.Must(f.MoveToNetns(linktest.Host, f.HostName(vf), pod, "net2"))
		}
		f.Must(<-added)
		if !f.InBond(pod, "net2") {
			f.Errorf("known %t: the link is not in the bond", known)
		}
		f.MustDel(args)
	}
	f.Unbind(f.VF(0, 0))
	began := time.Now()
	_, err := f.Add(f.Args("c1", pod, f.Config(map[string]any{"linkTimeout": 1})))
	WantError(f, err, types.ErrInvalidNetworkConfig, "net1")
	if took := time.Since(began); took < time.Second {
		f.Errorf("it gave up after %s", took)
	}
}

// singleLink: a bond over one VF is made if the config allows it. The result names the device.
func singleLink(f *Fixture) {
	pod := f.Pod("p1", 0)
	before := f.LinkState()
	one := map[string]any{"cniVersion": "1.1.0", "links": Links("net1")}
	_, err := f.Add(f.Args("c1", pod, f.Config(one)))
	WantError(f, err, types.ErrInvalidNetworkConfig, "links", "allowSingleLink")
	f.WantNothingLeft(before)
	one["allowSingleLink"] = true
	args := f.Args("c1", pod, f.Config(one))
	mac := f.LinkAt(pod, "net1").MAC
	result := f.MustAdd(args)
	if i := result.Interfaces[0]; i.PciID != string(f.VF(0, 0)) || i.Mac != string(mac) {
		f.Errorf("result %+v", i)
	}
	if !f.InBond(pod, "net1") || f.LinkAt(pod, "net2").Master != 0 {
		f.Errorf("links:\n%s", f.LinkState())
	}
	f.MustCheck(args, result)
	f.MustDel(args)
	f.WantNothingLeft(before)
}

// linkSettings: queue IDs and priorities are in the kernel after ADD, and after repair.
func linkSettings(f *Fixture) {
	pod := f.Pod("p1", 0)
	before := f.LinkState()
	args := f.Args("c1", pod, f.Config(map[string]any{"links": []any{
		map[string]any{"name": "net1", "queueId": 2, "prio": 10}, map[string]any{"name": "net2", "queueId": 1, "prio": 20},
	}}))
	result := f.MustAdd(args)
	want := func(when string) {
		f.Helper()
		for name, want := range map[string]string{"net1": "2 10", "net2": "1 20"} {
			if queue, prio := f.MemberSettings(pod, name); fmt.Sprint(queue, prio) != want {
				f.Errorf("%s %s has queue ID %d and priority %d, want %s", when, name, queue, prio, want)
			}
		}
	}
	want("after ADD")
	f.Eventually("the highest priority is active", func() bool { f.Converge("c1"); return f.Active(pod, "bond0") == "net2" })
	if got, want := f.LinkAt(pod, "bond0").MAC, f.LinkAt(pod, "net2").MAC; got != want {
		f.Errorf("the bond has MAC %s, want %s", got, want)
	}
	f.Must(f.Release(pod, "net2"))
	f.Converge("c1")
	want("after it was released")
	f.Must(f.SetMemberOptions(pod, "net2", bond.MemberOptions{QueueID: new(uint16(0))}), f.SetMemberOptions(pod, "net1", bond.MemberOptions{QueueID: new(uint16(1))}),
		f.SetMemberOptions(pod, "net2", bond.MemberOptions{QueueID: new(uint16(2)), Prio: new(int32(-5))}))
	f.Converge("c1")
	want("after they were swapped")
	f.Must(f.SetMemberOptions(pod, "net1", bond.MemberOptions{QueueID: new(uint16(7))}))
	WantError(f, f.Check(args, result), types.ErrInternal, "queueId 7, not 2")
	f.MustDel(args)
	f.WantNothingLeft(before)
}

// mtu: an MTU larger than a member's or a PF's maximum is rejected with both values.
func mtu(f *Fixture) {
	pod := f.Pod("p1", 0)
	f.Must(f.SetMTU(pod, "net2", 1400))
	rejected := func(mtu int, parts ...string) {
		f.Helper()
		before := f.LinkState()
		_, err := f.Add(f.Args("c1", pod, f.Config(map[string]any{"mtu": mtu})))
		WantError(f, err, types.ErrInvalidNetworkConfig, parts...)
		f.WantNothingLeft(before)
	}
	rejected(1450, "1450", "1400", "net2")
	pf := f.PF(0)
	f.Must(f.SetMTU(linktest.Host, pf, 1300))
	rejected(1350, "1350", "1300", pf)
	f.Must(f.SetMTU(linktest.Host, pf, 1500))
	// igb resets the card for that. Until its link is up again, a VF is refused any MAC.
	f.Eventually("the PF has carrier again", func() bool { return f.LinkAt(linktest.Host, pf).Carrier })
}

// warnings: a config that is valid but probably unintended causes warnings in the log and the record; ADD succeeds.
func warnings(f *Fixture) {
	pod := f.Pod("p1", 0)
	trust := func(on bool) {
		for card := range 2 {
			f.Must(f.SetVF(f.VF(card, 0), bond.VFSettings{Trust: &on}))
		}
	}
	mode := func(mode any) map[string]any { return map[string]any{"mode": mode, "failOverMac": nil} }
	for _, tt := range []struct {
		name    string
		changes map[string]any
		trusted bool
		parts   [][]string // one warning each
	}{
		{"as the OKD page has it", nil, false, nil},
		{"no monitor", map[string]any{"miimon": 0}, false, [][]string{{"miimon", "is not detected"}}},
		{"delay that is rounded", map[string]any{"updelay": 250}, false, [][]string{{"updelay: 250", "200"}}},
		{"policy of another mode", map[string]any{"xmitHashPolicy": "layer3+4"}, false, [][]string{{"xmitHashPolicy", "active-backup"}}},
		{"untrusted, balance", mode("balance-xor"), false, [][]string{{"mode balance-xor puts the bond's MAC on every link", "net2", "trust"}}},
		{"untrusted, balance-rr", mode(0), false, [][]string{{"mode balance-rr puts the bond's MAC on every link", "the PF of net2"}}},
		{"untrusted, 802.3ad", mode(4), false, [][]string{{"802.3ad: net1, net2: LACP"}, {"mode 802.3ad puts the bond's MAC on every link"}}},
		{"untrusted, one MAC in active-backup", map[string]any{"failOverMac": nil}, false, [][]string{{"failOverMac=none", "net2", "trust"}}},
		{"untrusted, follow", map[string]any{"failOverMac": 2}, false, [][]string{{"failOverMac=follow", "net1, net2", "trust"}}},
		{"untrusted, balance-alb", mode(6), false, [][]string{{"balance-alb moves MACs between links", "net1, net2", "trust"}}},
		{"active at first", map[string]any{"activeSlave": "net2"}, false, nil},
		{"active at first beside a primary", map[string]any{"activeSlave": "net2", "primary": "net1"}, false, [][]string{{"activeSlave", "net2", "net1"}}},
		{"addresses requested and no IPAM", map[string]any{"ipam": nil, "runtimeConfig": map[string]any{"ips": []string{"10.0.0.7/24"}}}, false, [][]string{{"ips", "IPAM"}}},
		{"trusted, more minLinks than links", map[string]any{"mode": 4, "failOverMac": nil, "minLinks": 3}, true, [][]string{{"minLinks: 3", "2"}, {"LACP"}}},
		{"trusted, balance", mode("balance-xor"), true, nil},
		{"trusted, 802.3ad", mode(4), true, [][]string{{"802.3ad", "net1, net2", "LACP"}}},
	} {
		if f.Skips(tt.name, "as the OKD page has it", "untrusted, balance-rr", "untrusted, 802.3ad", "untrusted, balance-alb", "trusted, balance", "trusted, 802.3ad") {
			continue
		}
		f.Run(tt.name, func(f *Fixture) {
			if strings.Contains(tt.name, "trusted") {
				f.needPFSettings()
				trust(tt.trusted)
				defer trust(false)
			}
			wantWarnings(f, pod, tt.changes, tt.parts)
		})
	}
}

// warningOnePF: two VFs of one PF fail together.
func warningOnePF(f *Fixture) {
	pod := f.Pod("p1", 0)
	f.Must(f.MoveToNetns(linktest.Host, f.HostName(f.VF(0, 1)), pod, "net3"))
	pf := []string{"net1, net3", f.PF(0), f.PFAddress(0)}
	wantWarnings(f, pod, map[string]any{"links": Links("net1", "net2", "net3")}, [][]string{pf})
	if !f.PFSettings() { // there is nothing about trust
		return
	}
	wantWarnings(f, pod, map[string]any{"links": Links("net1", "net3"), "mode": 6, "failOverMac": nil}, [][]string{pf, {"mode balance-alb moves MACs between links"}})
}

// wantWarnings checks that the record of an ADD has these warnings and no others, the status and the log too.
func wantWarnings(f *Fixture, pod string, changes map[string]any, warnings [][]string) {
	f.Helper()
	logged := len(f.Logged())
	args := f.Args("c1", pod, f.Config(changes))
	f.MustAdd(args)
	log := f.Logged()[logged:]
	defer f.MustDel(args)
	got := f.Record("c1").Warnings
	if reported := f.Converge("c1").Status.Warnings; !slices.Equal(reported, got) {
		f.Errorf("the status has %q, the record %q", reported, got)
	}
	if len(got) != len(warnings) {
		f.Fatalf("warnings %q, want %d", got, len(warnings))
	}
	for i, parts := range warnings {
		if slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(got[i], p) }) {
			f.Errorf("warning %q does not contain %q", got[i], parts)
		}
		if !strings.Contains(log, got[i]) {
			f.Errorf("the log does not contain %q: %s", got[i], log)
		}
	}
	if len(warnings) == 0 && log != "" {
		f.Errorf("ADD logs: %s", log)
	}
}
