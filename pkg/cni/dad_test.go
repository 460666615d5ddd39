package cni

import (
	"net/netip"
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

// TestDuplicateAddressWithoutGateway: without a gateway ADD does not wait for the detection. It fails if a duplicate is
// found immediately.
func TestDuplicateAddressWithoutGateway(t *testing.T) {
	n := newNode(t, 1)
	n.Occupy(netip.MustParseAddr("2001:db8::5"))
	_, err := n.Add(n.Args("c1", n.Pod("p1", 0), n.Config(map[string]any{"ipam": ipv6("")})))
	cnitest.WantError(t, err, types.ErrInternal, "2001:db8::5/64")
}

// TestRepairWithoutDetection: a repair adds an IPv6 address without duplicate address detection.
func TestRepairWithoutDetection(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	n.MustAdd(n.Args("c1", pod, n.Config(map[string]any{"ipam": ipv6("2001:db8::1")})))
	n.CompleteSetup("c1") // so that a missing address is not another writer's change
	n.Must(n.FlushAddresses(pod, "bond0"))
	n.FailApplyIf(func(a plan.Action) error {
		if a, is := a.(plan.AddAddress); is && a.DAD {
			return bond.ErrInvalid
		}
		return nil
	})
	if out := n.Converge("c1"); len(out.Observed.Bond.Addresses) != 1 {
		t.Errorf("after the repair %v", out.Observed.Bond.Addresses)
	}
}
