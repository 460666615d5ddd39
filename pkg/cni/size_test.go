package cni

import (
	"fmt"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

// TestTooManyRoutes: an IPAM result that makes the record too large to be loaded fails ADD, and nothing is left.
func TestTooManyRoutes(t *testing.T) {
	n := newNode(t, 1)
	var routes []any
	for i := range 16000 {
		routes = append(routes, map[string]any{"dst": fmt.Sprintf("10.%d.%d.0/24", i/256, i%256)})
	}
	args, before := n.OnePod(map[string]any{"ipam": map[string]any{"type": "host-local", "dataDir": n.Data, "subnet": "192.0.2.0/24", "routes": routes}})
	_, err := n.Add(args)
	cnitest.WantError(t, err, types.ErrInternal, "bytes", "routes")
	n.WantNothingLeft(before)
	n.MustDel(args)
}
