package cnitest

import (
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// RouteText is a route as in Node.Routes: like ip-route(8), without the kernel's defaults.
func RouteText(r bond.Route) string {
	s := r.String()
	if r.Dst.Addr().Is4() && !r.Gateway.IsValid() {
		s += " scope link"
	}
	if r.Priority != 0 && (r.Dst.Addr().Is4() || r.Priority != 1024) {
		s += fmt.Sprintf(" metric %d", r.Priority)
	}
	if r.MTU != 0 {
		s += fmt.Sprintf(" mtu %d", r.MTU)
	}
	if r.AdvMSS != 0 {
		s += fmt.Sprintf(" advmss %d", r.AdvMSS)
	}
	return s
}
