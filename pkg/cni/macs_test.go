package cni

import (
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

const (
	macA = bond.MAC("02:00:00:00:00:0a")
	macB = bond.MAC("02:00:00:00:00:0b")
	macX = bond.MAC("02:00:00:00:00:99")
)

func TestGiveMACs(t *testing.T) {
	mode := func(mode string, more ...string) bond.Options {
		o := bond.Options{bond.OptMode: mode}
		for i := 0; i < len(more); i += 2 {
			o[bond.Option(more[i])] = more[i+1]
		}
		return o
	}
	active, follow := mode("active-backup", "failOverMac", "active"), mode("active-backup", "failOverMac", "follow")
	two := []bond.Member{{Name: "net1", MAC: macA}, {Name: "net2", MAC: macB}}
	alike := []bond.Member{{Name: "net1", MAC: macA}, {Name: "net2", MAC: macA}}
	ranked := []bond.Member{{Name: "net1", MAC: macA}, {Name: "net2", MAC: macB, Prio: new(int32(1))}}
	lowly := []bond.Member{{Name: "net1", MAC: macA, Prio: new(int32(-1))}, {Name: "net2", MAC: macB}}
	absent := []bond.Member{{Name: "net1", Unidentified: true}, {Name: "net2", MAC: macB}}
	const fresh = bond.MAC("fresh")
	for _, tc := range []struct {
		name    string
		options bond.Options
		members []bond.Member
		asked   bond.MAC
		bond    bond.MAC
		each    []bond.MAC
		away    bool // the first is not there
	}{
		{"the first one's", mode("balance-rr"), two, "", macA, []bond.MAC{macA, macB}, false},
		{"the primary's", mode("active-backup", "primary", "net2"), two, "", macB, []bond.MAC{macA, macB}, false},
		{"the highest priority's", active, ranked, "", macB, []bond.MAC{macA, macB}, false},
		{"none has a priority, one is below that", active, lowly, "", macB, []bond.MAC{macA, macB}, false},
		{"the one's that is to be active at first", mode("active-backup", "failOverMac", "active", "activeSlave", "net2"), two, "", macB, []bond.MAC{macA, macB}, false},
		{"a priority outranks that", mode("active-backup", "failOverMac", "active", "activeSlave", "net1"), ranked, "", macB, []bond.MAC{macA, macB}, false},
		{"a primary outranks priorities", mode("active-backup", "failOverMac", "active", "primary", "net1"), ranked, "", macA, []bond.MAC{macA, macB}, false},
		{"the first that is there", active, absent, "", macB, []bond.MAC{"", macB}, false},
		{"none is there", active, absent[:1], macX, macX, []bond.MAC{""}, false},

		{"one that is away", mode("balance-rr"), two, "", macB, []bond.MAC{macA, macB}, true},
		{"a primary that is away", mode("active-backup", "primary", "net1"), two, "", macB, []bond.MAC{macA, macB}, true},
		{"asked, active: the one that is there gets it", active, two, macX, macX, []bond.MAC{macA, macX}, true},

		{"asked", mode("balance-xor"), two, macX, macX, []bond.MAC{macA, macB}, false},
		{"asked, follow", follow, two, macX, macX, []bond.MAC{macA, macB}, false},
		{"asked, active: the first one gets it", active, two, macX, macX, []bond.MAC{macX, macB}, false},
		{"asked, active: the primary gets it", mode("active-backup", "failOverMac", "active", "primary", "net2"), two, macX, macX, []bond.MAC{macA, macX}, false},
		{"asked, active: the highest priority gets it", active, ranked, macX, macX, []bond.MAC{macA, macX}, false},
		{"asked, active: one has it", active, two, macB, macB, []bond.MAC{macA, macB}, false},

		{"alike, active", active, alike, "", macA, []bond.MAC{macA, macA}, false},
		{"alike, follow", follow, alike, "", macA, []bond.MAC{macA, fresh}, false},
		{"alike, balance-tlb", mode("balance-tlb"), alike, "", macA, []bond.MAC{macA, fresh}, false},
		{"alike, balance-alb", mode("balance-alb"), alike, "", macA, []bond.MAC{macA, fresh}, false},
		{"alike, one MAC on all", mode("802.3ad"), alike, "", macA, []bond.MAC{macA, macA}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &bond.Record{Spec: bond.Spec{Options: tc.options}, Members: append([]bond.Member(nil), tc.members...)}
			found := &bond.MemberResult{Links: make([]bond.MemberLink, len(r.Members))}
			if tc.away {
				found.Links[0].Missing = bond.ErrGone
			}
			assignMACs(r, tc.asked, found)
			got := make([]bond.MAC, len(r.Members))
			for i, m := range r.Members {
				if got[i] = m.MAC; tc.each[i] == fresh {
					if canonical, err := bond.ParseMAC(string(m.MAC)); err != nil || canonical != m.MAC || m.MAC == macA || m.MAC.Bytes()[0]&2 == 0 {
						t.Errorf("%s got %q", m.Name, m.MAC)
					}
					got[i] = fresh
				}
			}
			if r.Spec.MAC != tc.bond || !cmp.Equal(got, tc.each) {
				t.Errorf("bond %s, members %v; want %s, %v", r.Spec.MAC, got, tc.bond, tc.each)
			}
		})
	}
}

// TestAddMACs: what is asked for is there after ADD, and what the links had after DEL.
func TestAddMACs(t *testing.T) {
	alike := func(n *node, pod string) { n.must(n.SetMAC(pod, "net2", n.link(pod, "net1").MAC)) }
	for _, tc := range []struct {
		name     string
		changes  map[string]any
		world    func(n *node, pod string)
		distinct bool // the members' MACs
	}{
		{"asked, active", map[string]any{"mac": string(macX)}, nil, true},
		{"asked, active, primary", map[string]any{"mac": string(macX), "primary": "net2"}, nil, true},
		{"asked, follow", map[string]any{"mac": string(macX), "failOverMac": 2}, nil, true},
		{"asked, one on all", map[string]any{"mac": string(macX), "failOverMac": 0}, nil, false},
		{"asked, balance-alb", map[string]any{"mac": string(macX), "mode": "balance-alb", "failOverMac": nil}, nil, true},
		{"asked through runtimeConfig", map[string]any{"runtimeConfig": map[string]string{"mac": string(macX)}}, nil, true},
		{"alike, active", nil, alike, false},
		{"alike, follow", map[string]any{"failOverMac": 2}, alike, true},
		{"alike, balance-tlb", map[string]any{"mode": "balance-tlb", "failOverMac": nil}, alike, true},
		{"alike, balance-alb", map[string]any{"mode": "balance-alb", "failOverMac": nil}, alike, true},
		{"alike, balance-rr", map[string]any{"mode": "balance-rr", "failOverMac": nil}, alike, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newNode(t, 1)
			pod := n.pod("p1", 0)
			if tc.world != nil {
				tc.world(n, pod)
			}
			want := n.link(pod, "net1").MAC
			if tc.world == nil {
				want = macX
			}
			before := n.String()
			args := n.args("c1", pod, n.config(tc.changes))
			result := n.mustAdd(args)
			b, net1, net2 := n.link(pod, "bond0"), n.link(pod, "net1"), n.link(pod, "net2")
			if b.MAC != want || result.Interfaces[0].Mac != string(want) {
				t.Errorf("the bond has %s, the result says %s, want %s", b.MAC, result.Interfaces[0].Mac, want)
			}
			if (net1.MAC != net2.MAC) != tc.distinct {
				t.Errorf("members have %s and %s; want them distinct: %t", net1.MAC, net2.MAC, tc.distinct)
			}
			if err := n.plugin.Funcs().Check(n.args("c1", pod, n.withPrev(args.StdinData, result))); err != nil {
				t.Errorf("CHECK: %v", err)
			}
			n.mustDel(args)
			n.nothingLeft(before)
		})
	}
}

// TestAddMACRefused: a MAC that a PF does not let its VF have fails ADD, and leaves nothing.
func TestAddMACRefused(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	own := n.link(pod, "net1").MAC
	n.must(n.SetVF(n.VFs("pf0")[0], bond.VFSettings{MAC: &own}))
	before := n.String()
	_, err := n.add(n.args("c1", pod, n.config(map[string]any{"mac": string(macX)})))
	cnitest.WantError(t, err, types.ErrInternal, "net1", string(macX), "pf0")
	n.nothingLeft(before)
}

// TestSameMACsOfVLANs: VLANs have the MAC of the link below them, and keep it.
func TestSameMACsOfVLANs(t *testing.T) {
	const mac = "02:00:00:00:00:aa"
	r := &bond.Record{}
	for _, kind := range []string{"vlan", "vlan", "veth", "veth"} {
		r.Members = append(r.Members, bond.Member{Kind: kind, MAC: mac, Original: bond.Original{MAC: mac}})
	}
	r.Members = append(r.Members, bond.Member{VF: &bond.VF{}, MAC: mac, Original: bond.Original{MAC: mac}})
	separateMACs(r)
	for i, same := range []bool{true, true, false, false, true} {
		if (r.Members[i].Original.MAC == mac) != same {
			t.Errorf("member %d: %+v", i, r.Members[i])
		}
	}
	if r.Members[2].Original.MAC == r.Members[3].Original.MAC {
		t.Errorf("two have %s", r.Members[2].Original.MAC)
	}
}

// TestSameMACs: virtual links that had one MAC before ADD have different ones after DEL. A failed ADD changes none.
func TestSameMACs(t *testing.T) {
	for _, mode := range []string{"active-backup", "balance-tlb", "balance-xor"} {
		t.Run(mode, func(t *testing.T) {
			n := newNode(t, 0)
			pod := "/run/netns/p1"
			n.pods[pod] = n.AddPod(pod)
			for _, name := range []string{"net1", "net2"} {
				_, err := n.AddVirtual(pod, name)
				n.must(err)
				n.must(n.SetMAC(pod, name, "02:00:00:00:00:aa"))
			}
			before := n.String()
			changes := map[string]any{"mode": mode, "failOverMac": nil}
			if mode == "active-backup" {
				changes["failOverMac"] = 1
			}
			args := n.args("c1", pod, n.config(changes))
			n.FailApplyIf(func(a plan.Action) error {
				if _, is := a.(plan.AddRoute); is {
					return bond.ErrInvalid
				}
				return nil
			})
			if _, err := n.add(args); err == nil {
				t.Fatal("ADD succeeded")
			}
			n.nothingLeft(before)
			n.FailApplyIf(nil)
			n.mustAdd(args)
			n.mustDel(args)
			one, two := n.link(pod, "net1").MAC, n.link(pod, "net2").MAC
			if one != "02:00:00:00:00:aa" || two == one || two == "" {
				t.Errorf("after DEL: %s and %s", one, two)
			}
		})
	}
}
