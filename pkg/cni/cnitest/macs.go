package cnitest

import (
	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// requestedMAC is a MAC that no link has.
const requestedMAC = bond.MAC("02:00:00:00:00:99")

var macScenarios = []scenario{
	{"MACs", macs, false},
	{"MAC rejected", macRejected, false},
	{"same MACs of virtual links", sameMACs, false},
}

// macs: the requested MAC, and links with the same MAC, in every mode where it matters. DEL restores them.
func macs(f *Fixture) {
	pod := f.Pod("p1", 0)
	own := f.LinkAt(pod, "net2").MAC
	mode := func(mode any, changes map[string]any) map[string]any {
		changes["mode"], changes["failOverMac"] = mode, nil
		return changes
	}
	mac := func() map[string]any { return map[string]any{"mac": string(requestedMAC)} }
	for _, tt := range []struct {
		name     string
		changes  map[string]any
		alike    bool // the members have the same MAC before
		distinct bool // the members have different MACs in the bond
	}{
		{"requested, active", mac(), false, true},
		{"requested, active, primary", map[string]any{"mac": string(requestedMAC), "primary": "net2"}, false, true},
		{"requested, follow", map[string]any{"mac": string(requestedMAC), "failOverMac": 2}, false, true},
		{"requested, one on all", map[string]any{"mac": string(requestedMAC), "failOverMac": 0}, false, false},
		{"requested, balance-rr", mode(0, mac()), false, false},
		{"requested, balance-tlb", mode(5, mac()), false, true},
		{"requested, balance-alb", mode("balance-alb", mac()), false, true},
		{"requested through runtimeConfig", map[string]any{"runtimeConfig": map[string]string{"mac": string(requestedMAC)}}, false, true},
		{"alike, active", map[string]any{}, true, false},
		{"alike, none", map[string]any{"failOverMac": 0}, true, false},
		{"alike, follow", map[string]any{"failOverMac": 2}, true, true},
		{"alike, balance-tlb", mode("balance-tlb", map[string]any{}), true, true},
		{"alike, balance-alb", mode("balance-alb", map[string]any{}), true, true},
		{"alike, balance-rr", mode("balance-rr", map[string]any{}), true, false},
	} {
		if f.Slow() && (tt.name == "requested, active, primary" || tt.name == "requested through runtimeConfig") {
			continue
		}
		f.Run(tt.name, func(f *Fixture) {
			want := requestedMAC
			if tt.alike {
				want = f.LinkAt(pod, "net1").MAC
				f.Must(f.SetMAC(pod, "net2", want))
				defer func() { f.Must(f.SetMAC(pod, "net2", own)) }()
			}
			before := f.LinkState()
			args := f.Args("c1", pod, f.Config(tt.changes))
			result := f.MustAdd(args)
			f.Eventually("the bond has carrier and its MAC", func() bool {
				f.Converge("c1")
				b := f.LinkAt(pod, "bond0")
				return b.Carrier && b.MAC == want
			})
			if got := result.Interfaces[0].Mac; got != string(want) {
				f.Errorf("the result has MAC %s, want %s", got, want)
			}
			if net1, net2 := f.LinkAt(pod, "net1").MAC, f.LinkAt(pod, "net2").MAC; (net1 != net2) != tt.distinct {
				f.Errorf("members have %s and %s; want them distinct: %t", net1, net2, tt.distinct)
			}
			f.MustCheck(args, result)
			f.MustDel(args)
			f.WantNothingLeft(before)
		})
	}
}

// macRejected: the second member rejects the bond's MAC. The error names the remedies.
func macRejected(f *Fixture) {
	f.needPFSettings()
	pod := f.Pod("p1", 0)
	own := f.LinkAt(pod, "net2").MAC
	f.Must(f.SetVF(f.VF(1, 0), bond.VFSettings{MAC: &own}))
	before := f.LinkState()
	_, err := f.Add(f.Args("c1", pod, f.Config(map[string]any{"mode": 0, "failOverMac": nil})))
	WantError(f, err, types.ErrInternal, "net2", "refuses the MAC", "trust on", "failOverMac=active")
	f.WantNothingLeft(before)
}

// sameMACs: virtual links with the same MAC before ADD have different ones after DEL.
func sameMACs(f *Fixture) {
	pod := f.EmptyPod("p1")
	for _, name := range []string{"net1", "net2"} {
		_, err := f.AddVirtual(pod, name)
		f.Must(err)
	}
	const mac = bond.MAC("02:00:00:00:00:aa")
	for _, changes := range []map[string]any{
		{}, {"failOverMac": nil}, {"mode": "balance-tlb", "failOverMac": nil}, {"mode": "balance-xor", "failOverMac": nil},
	} {
		f.Must(f.SetMAC(pod, "net1", mac), f.SetMAC(pod, "net2", mac))
		args := f.Args("c1", pod, f.Config(changes))
		f.MustAdd(args)
		f.MustDel(args)
		if one, two := f.LinkAt(pod, "net1").MAC, f.LinkAt(pod, "net2").MAC; one != mac || two == one || two == "" {
			f.Errorf("%v: after DEL: %s and %s", changes, one, two)
		}
	}
}
