package cni

import (
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

func TestChooseMTU(t *testing.T) {
	link := func(name string, mtu, pf int) bond.MemberLink {
		f := bond.MemberLink{Member: bond.Member{Name: name, Original: bond.Original{MTU: mtu}}}
		if pf != 0 {
			f.PF = &bond.ObservedPF{Name: "pf-" + name, MTU: pf}
		}
		return f
	}
	for _, tc := range []struct {
		name      string
		requested int
		links     []bond.MemberLink
		want      int
		texts     []string // of the error
	}{
		{"least of the links", 0, []bond.MemberLink{link("net1", 9000, 0), link("net2", 1500, 0)}, 1500, nil},
		{"least of the PFs", 0, []bond.MemberLink{link("net1", 9000, 4000), link("net2", 9000, 9000)}, 4000, nil},
		{"an absent link bounds nothing", 0, []bond.MemberLink{link("net1", 0, 0), link("net2", 2000, 0)}, 2000, nil},
		{"nothing known", 0, []bond.MemberLink{link("net1", 0, 0)}, 0, nil},
		{"nothing known, requested", 9000, []bond.MemberLink{link("net1", 0, 0)}, 9000, nil},
		{"less than all", 1400, []bond.MemberLink{link("net1", 9000, 9000), link("net2", 1500, 1500)}, 1400, nil},
		{"just what they have", 1500, []bond.MemberLink{link("net1", 1500, 1500)}, 1500, nil},
		{"more than a link", 9000, []bond.MemberLink{link("net1", 9000, 9000), link("net2", 1500, 9000)}, 0, []string{"mtu", "9000", "1500", "net2"}},
		{"more than a PF", 9000, []bond.MemberLink{link("net1", 9000, 9000), link("net2", 9000, 4000)}, 0, []string{"mtu", "9000", "4000", "pf-net2", "net2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := chooseMTU(tc.requested, &bond.MemberResult{Links: tc.links})
			if len(tc.texts) > 0 {
				cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, tc.texts...)
			} else if err != nil || got != tc.want {
				t.Errorf("got %d (%v), want %d", got, err, tc.want)
			}
		})
	}
}

// TestMTUForIPv6: a link with a smaller MTU than IPv6 needs cannot have an IPv6 address.
func TestMTUForIPv6(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	before := n.String()
	args := func(mtu int, ipam any) *skel.CmdArgs {
		return n.Args("c1", pod, n.Config(map[string]any{"mtu": mtu, "ipam": ipam}))
	}
	_, err := n.Add(args(1279, ipv6("")))
	cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, "mtu", "1279", "1280", "2001:db8::5/64")
	n.WantNothingLeft(before)
	for _, works := range []*skel.CmdArgs{args(1280, ipv6("")), args(1279, nil)} {
		n.MustAdd(works)
		n.MustDel(works)
		n.WantNothingLeft(before)
	}
}
