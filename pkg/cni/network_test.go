package cni

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// TestRouteRejected: a route that the kernel rejects permanently fails ADD immediately, even if the plugin had accepted
// it.
func TestRouteRejected(t *testing.T) {
	n := newNode(t, 1)
	args := n.Args("c1", n.Pod("p1", 0), n.Config(nil))
	before := n.String()
	tries := 0
	n.FailApplyIf(func(a plan.Action) error {
		if r, is := a.(plan.AddRoute); is {
			tries++
			return fmt.Errorf("%s: %w", r, bond.ErrInvalid)
		}
		return nil
	})
	_, err := n.Add(args)
	cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, "add route 0.0.0.0/0 via 10.56.217.1")
	if tries != 1 {
		t.Errorf("it was tried %d times", tries)
	}
	n.WantNothingLeft(before)
}

// TestChainedInFull: the result of the previous plugins in a chain is passed on unchanged.
func TestChainedInFull(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	prev := map[string]any{
		"cniVersion": "1.1.0",
		"interfaces": []any{map[string]any{"name": "eth0", "sandbox": pod, "mac": "02:00:00:00:00:50", "mtu": 1450, "pciID": "0000:05:00.1", "socketPath": "/run/x"}, map[string]any{"name": "veth1"}},
		"ips":        []any{map[string]any{"address": "10.244.0.5/24", "gateway": "10.244.0.1", "interface": 0}},
		"routes":     []any{map[string]any{"dst": "10.244.0.0/16", "mtu": 1300, "table": 7}},
		"dns":        map[string]any{"nameservers": []string{"10.96.0.10"}},
	}
	args := n.Args("c1", pod, n.Config(map[string]any{"cniVersion": "1.1.0", "prevResult": prev}))
	result := n.MustAdd(args)
	if i := result.Interfaces; len(i) != 3 || i[0].PciID != "0000:05:00.1" || i[0].SocketPath != "/run/x" || i[0].Mtu != 1450 || i[1].Name != "veth1" || i[2].Name != "bond0" {
		t.Errorf("interfaces: %v", i)
	}
	if len(result.IPs) != 2 || *result.IPs[0].Interface != 0 || result.IPs[0].Gateway.String() != "10.244.0.1" || *result.IPs[1].Interface != 2 {
		t.Errorf("IPs: %v", result.IPs)
	}
	if len(result.Routes) != 2 || result.Routes[0].MTU != 1300 || *result.Routes[0].Table != 7 {
		t.Errorf("routes: %v", result.Routes)
	}
	if len(result.DNS.Nameservers) != 1 {
		t.Errorf("DNS: %v", result.DNS)
	}
	n.MustCheck(args, result)
}

// TestWrongIPs: addresses that the IPAM plugin cannot provide fail ADD with that plugin's own message.
func TestWrongIPs(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	before := n.String()
	_, err := n.Add(n.Args("c1", pod, n.Config(map[string]any{"runtimeConfig": map[string]any{"ips": []string{"192.168.99.1"}}})))
	cnitest.WantError(t, err, types.ErrInternal, "IPAM host-local ADD", "192.168.99.1")
	if strings.Contains(err.Error(), "bond0 of pod") {
		t.Errorf("it looks like the bond's fault: %v", err)
	}
	n.WantNothingLeft(before)
}

// TestUnspecifiedGateway: for the kernel and the reference plugins 0.0.0.0 as the gateway of an address means none, so
// that routes go through the bond without one.
func TestUnspecifiedGateway(t *testing.T) {
	n := newNode(t, 1)
	address := map[string]any{"address": "192.0.2.5/24", "gateway": "0.0.0.0"}
	args, _ := n.OnePod(map[string]any{"ipam": map[string]any{"type": "static", "addresses": []any{address}, "routes": []any{map[string]any{"dst": "198.51.100.0/24"}}}})
	result := n.MustAdd(args)
	if got := n.fake.Routes(args.Netns, "bond0"); len(got) != 1 || got[0] != "198.51.100.0/24 scope link" {
		t.Errorf("routes: %q", got)
	}
	n.MustCheck(args, result)
}
