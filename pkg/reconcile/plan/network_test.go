package plan

import (
	"net/netip"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TestSharedRoutesAreLeft: a route of another writer with the destination, gateway and another MTU is replaced, unless it
// has further next hops. To delete its hop through the bond takes the whole IPv4 route away, if that hop is its first.
func TestSharedRoutesAreLeft(t *testing.T) {
	at := netip.MustParsePrefix
	for name, tc := range map[string]struct {
		have    bond.Route
		actions int
	}{
		"IPv4":        {bond.Route{Dst: at("198.51.100.0/24"), MTU: 1300}, 2},
		"shared IPv4": {bond.Route{Dst: at("198.51.100.0/24"), MTU: 1300, Shared: true}, 1},
		"IPv6":        {bond.Route{Dst: at("2001:db8::/48"), MTU: 1300, Priority: 1024}, 2},
		"shared IPv6": {bond.Route{Dst: at("2001:db8::/48"), MTU: 1300, Priority: 1024, Shared: true}, 0}, // the hop's own MTU is not known
	} {
		want := bond.Route{Dst: tc.have.Dst, MTU: 1400}
		rec := &bond.Record{Key: bond.Key{ContainerID: "c", IfName: "bond0"}, Phase: bond.PhaseReady, Routes: []bond.Route{want}}
		o := bond.Observed{SandboxAlive: true, Bond: &bond.ObservedBond{Link: bond.Link{Index: 7, Name: "bond0", Kind: "bond", Up: true}, Routes: []bond.Route{tc.have}}}
		p := Diff(Input{Record: rec, Observed: o})
		if len(p.Actions) != tc.actions {
			t.Errorf("%s: actions %v, want %d", name, p.Actions, tc.actions)
		}
		if len(p.Actions) == 0 {
			continue
		}
		if add, ok := p.Actions[len(p.Actions)-1].(AddRoute); !ok || add.Route != want {
			t.Errorf("%s: actions %v, want the route added last", name, p.Actions)
		}
	}
}
