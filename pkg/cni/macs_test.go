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
	ranked := []bond.Member{{Name: "net1", MAC: macA}, {Name: "net2", MAC: macB, MemberOptions: bond.MemberOptions{Prio: new(int32(1))}}}
	lowly := []bond.Member{{Name: "net1", MAC: macA, MemberOptions: bond.MemberOptions{Prio: new(int32(-1))}}, {Name: "net2", MAC: macB}}
	absent := []bond.Member{{Name: "net1", Unidentified: true}, {Name: "net2", MAC: macB}}
	const fresh = bond.MAC("fresh")
	for _, tc := range []struct {
		name      string
		options   bond.Options
		members   []bond.Member
		requested bond.MAC
		bond      bond.MAC
		each      []bond.MAC
		missing   bool // the first one is missing
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

		{"one that is missing", mode("balance-rr"), two, "", macB, []bond.MAC{macA, macB}, true},
		{"a primary that is missing", mode("active-backup", "primary", "net1"), two, "", macB, []bond.MAC{macA, macB}, true},
		{"requested, active: the one that is there gets it", active, two, macX, macX, []bond.MAC{macA, macX}, true},

		{"requested", mode("balance-xor"), two, macX, macX, []bond.MAC{macA, macB}, false},
		{"requested, follow", follow, two, macX, macX, []bond.MAC{macA, macB}, false},
		{"requested, active: the first one gets it", active, two, macX, macX, []bond.MAC{macX, macB}, false},
		{"requested, active: the primary gets it", mode("active-backup", "failOverMac", "active", "primary", "net2"), two, macX, macX, []bond.MAC{macA, macX}, false},
		{"requested, active: the highest priority gets it", active, ranked, macX, macX, []bond.MAC{macA, macX}, false},
		{"requested, active: one has it", active, two, macB, macB, []bond.MAC{macA, macB}, false},

		{"alike, active", active, alike, "", macA, []bond.MAC{macA, macA}, false},
		{"alike, follow", follow, alike, "", macA, []bond.MAC{macA, fresh}, false},
		{"alike, balance-tlb", mode("balance-tlb"), alike, "", macA, []bond.MAC{macA, fresh}, false},
		{"alike, balance-alb", mode("balance-alb"), alike, "", macA, []bond.MAC{macA, fresh}, false},
		{"alike, one MAC on all", mode("802.3ad"), alike, "", macA, []bond.MAC{macA, macA}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &bond.Record{Spec: bond.Spec{Options: tc.options}, Members: append([]bond.Member(nil), tc.members...)}
			found := &bond.MemberResult{Links: make([]bond.MemberLink, len(r.Members))}
			if tc.missing {
				found.Links[0].Missing = bond.ErrGone
			}
			assignMACs(r, tc.requested, found)
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

// TestSameMACs: VLANs have the MAC of the link below them, and keep it. So do devices, whether or not their PF has
// settings for them.
func TestSameMACs(t *testing.T) {
	const mac = "02:00:00:00:00:aa"
	r := &bond.Record{}
	for _, kind := range []string{"vlan", "vlan", "veth", "veth"} {
		r.Members = append(r.Members, bond.Member{Kind: kind, MAC: mac, Original: bond.Original{MAC: mac}})
	}
	r.Members = append(r.Members, bond.Member{PCI: "0000:01:00.1", MAC: mac, Original: bond.Original{MAC: mac}})
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

// TestAddMACRejected: if a PF rejects its VF's MAC, ADD fails and leaves nothing. (The real kernel's error counts as
// busy, and ADD retries for ten seconds.)
func TestAddMACRejected(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	own := n.LinkAt(pod, "net1").MAC
	n.Must(n.SetVF(n.VFs("pf0")[0], bond.VFSettings{MAC: &own}))
	before := n.String()
	_, err := n.Add(n.Args("c1", pod, n.Config(map[string]any{"mac": string(macX)})))
	cnitest.WantError(t, err, types.ErrInternal, "net1", string(macX), "pf0")
	n.WantNothingLeft(before)
}

// TestFailedADDKeepsMACs: virtual links with the same MAC keep it if ADD fails.
func TestFailedADDKeepsMACs(t *testing.T) {
	for _, mode := range []string{"active-backup", "balance-tlb", "balance-xor"} {
		t.Run(mode, func(t *testing.T) {
			n := newNode(t, 0)
			pod := n.EmptyPod("p1")
			for _, name := range []string{"net1", "net2"} {
				_, err := n.AddVirtual(pod, name)
				n.Must(err, n.SetMAC(pod, name, "02:00:00:00:00:aa"))
			}
			before := n.String()
			changes := map[string]any{"mode": mode, "failOverMac": nil}
			if mode == "active-backup" {
				changes["failOverMac"] = 1
			}
			n.FailApplyIf(func(a plan.Action) error {
				if _, is := a.(plan.AddRoute); is {
					return bond.ErrInvalid
				}
				return nil
			})
			if _, err := n.Add(n.Args("c1", pod, n.Config(changes))); err == nil {
				t.Fatal("ADD succeeded")
			}
			n.WantNothingLeft(before)
		})
	}
}
