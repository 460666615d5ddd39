package cni

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

func ipv6(gateway string) map[string]any {
	address := map[string]any{"address": "2001:db8::5/64"}
	if gateway != "" {
		address["gateway"] = gateway
	}
	return map[string]any{"type": "static", "addresses": []any{address}}
}

// TestDuplicateAddress: ADD fails with the address named and leaves nothing behind. With dad false nothing is detected.
func TestDuplicateAddress(t *testing.T) {
	duplicate := netip.MustParseAddr("2001:db8::5")
	t.Run("with a gateway", func(t *testing.T) {
		n := newNode(t, 1)
		pod := n.pod("p1", 0)
		before := n.String()
		n.Occupy(duplicate)
		_, err := n.add(n.args("c1", pod, n.config(map[string]any{"ipam": ipv6("2001:db8::1")})))
		cnitest.WantError(t, err, types.ErrInternal, "2001:db8::5/64", "duplicate address detection")
		n.nothingLeft(before)
	})
	t.Run("without a gateway, found at once", func(t *testing.T) {
		n := newNode(t, 1)
		n.Occupy(duplicate)
		args := n.args("c1", n.pod("p1", 0), n.config(map[string]any{"ipam": ipv6("")}))
		_, err := n.add(args)
		cnitest.WantError(t, err, types.ErrInternal, "2001:db8::5/64")
	})
	t.Run("dad false", func(t *testing.T) {
		n := newNode(t, 1)
		n.Occupy(duplicate)
		n.mustAdd(n.args("c1", n.pod("p1", 0), n.config(map[string]any{"dad": false, "ipam": ipv6("2001:db8::1")})))
	})
}

// TestIPv6SurvivesDown: an IPv6 address stays on the bond when that goes down and up, without an agent. A repair adds it
// without detection.
func TestIPv6SurvivesDown(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	n.mustAdd(n.args("c1", pod, n.config(map[string]any{"ipam": ipv6("2001:db8::1")})))
	n.must(n.SetDown(pod, "bond0"))
	n.must(n.SetUp(pod, "bond0"))
	obs, err := n.Observe(t.Context(), n.record("c1"))
	n.must(err)
	if want := netip.MustParsePrefix("2001:db8::5/64"); !slices.Contains(obs.Bond.Addresses, want) {
		t.Errorf("addresses %v", obs.Bond.Addresses)
	}
	rec := n.record("c1")
	rec.Setup.Complete = rec.Setup.Returned // so that a missing address is not another writer's doing
	n.must(n.store.Save(rec))
	n.must(n.FlushAddresses(pod, "bond0"))
	n.FailApplyIf(func(a plan.Action) error {
		if a, is := a.(plan.AddAddress); is && a.DAD {
			return bond.ErrInvalid
		}
		return nil
	})
	out, err := n.engine().Converge(t.Context(), n.record("c1").Key)
	if err != nil || len(out.Observed.Bond.Addresses) != 1 {
		t.Errorf("after the repair %v, %v", out.Observed.Bond.Addresses, err)
	}
}
