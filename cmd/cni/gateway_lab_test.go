//go:build lab

package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// TestGatewayOutsideTheSubnet: ADD fails with the code for an invalid config, not with "try again later", names route and gateway, and leaves
// neither link nor lease behind. A gateway behind a route of its own works.
func TestGatewayOutsideTheSubnet(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	for _, tt := range []struct{ name, ipam, route, gateway string }{
		{"IPv4", `"subnet":"192.0.2.0/24","gateway":"203.0.113.1","routes":[{"dst":"0.0.0.0/0"}]`, "0.0.0.0/0", "203.0.113.1"},
		{"IPv6", `"subnet":"2001:db8::/64","routes":[{"dst":"2001:db8:1::/48","gw":"2001:db8:9::1"}]`, "2001:db8:1::/48", "2001:db8:9::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sub := p.in(t)
			conf := sub.config("1.0.0", fmt.Sprintf(`"mode":1,"failOverMac":1,"ipam":{"type":"host-local","dataDir":%q,%s}`, sub.data(), tt.ipam))
			_, err := sub.cni.AddNetwork(t.Context(), conf, sub.runtime("bond0"))
			var coded *types.Error
			if !errors.As(err, &coded) || coded.Code != types.ErrInvalidNetworkConfig || !strings.Contains(err.Error(), tt.route) || !strings.Contains(err.Error(), tt.gateway) {
				t.Errorf("ADD: %v", err)
			}
			t.Log(err)
			sub.nothingLeft(before)
		})
	}
	conf := p.config("1.0.0", `"mode":1,"failOverMac":1,"ipam":{"type":"static","addresses":[{"address":"192.0.2.7/32","gateway":"203.0.113.1"}],
		"routes":[{"dst":"0.0.0.0/0"},{"dst":"203.0.113.1/32","gw":"0.0.0.0"}]}`)
	p.add(conf, "bond0")
	if route := string(p.ip("-n", p.name, "route", "show", "default")); !strings.Contains(route, "via 203.0.113.1 dev bond0") {
		t.Errorf("default route: %q", route)
	}
	p.del(conf, "bond0")
	p.likeBefore(before)
}
