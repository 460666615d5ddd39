package cni

import (
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

// TestVerbsLeaveNoFiles: complete lives and failed ADDs leave no file in the state directory. The store's tests do the
// same with 10,000 of each.
func TestVerbsLeaveNoFiles(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	before := n.files()
	args := n.Args("c1", pod, n.Config(nil))
	noLink := n.Args("c1", pod, n.Config(map[string]any{"links": []any{map[string]string{"name": "net1"}, map[string]string{"name": "net7"}}}))
	noAddress := n.Args("c1", pod, n.Config(map[string]any{"ipam": map[string]any{"type": "host-local", "dataDir": n.Data, "subnet": "10.0.0.0/24",
		"rangeStart": "10.0.0.7", "rangeEnd": "10.0.0.7", "gateway": "10.0.0.7"}}))
	for range 5 {
		n.MustAdd(args)
		n.MustDel(args)
		_, err := n.Add(noLink)
		cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, "net7")
		n.MustDel(noLink)
		_, err = n.Add(noAddress)
		cnitest.WantError(t, err, types.ErrInternal, "IPAM host-local ADD")
		n.MustDel(noAddress)
	}
	if after := n.files(); len(after) != len(before) {
		t.Errorf("%d files before, after:\n%q", len(before), after)
	}
}
