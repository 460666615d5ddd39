package cni

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

// files are all files and directories in the state directory.
func (n *node) files() []string {
	n.t.Helper()
	var all []string
	n.must(filepath.WalkDir(n.dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	}))
	return all
}

// TestVerbsLeaveNoFiles: complete lives and failed ADDs leave no file in the state directory. The store's tests do the
// same with 10,000 of each.
func TestVerbsLeaveNoFiles(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.files()
	args := n.args("c1", pod, n.config(nil))
	noLink := n.args("c1", pod, n.config(map[string]any{"links": []any{map[string]string{"name": "net1"}, map[string]string{"name": "net7"}}}))
	noAddress := n.args("c1", pod, n.config(map[string]any{"ipam": map[string]any{"type": "host-local", "dataDir": n.data, "subnet": "10.0.0.0/24",
		"rangeStart": "10.0.0.7", "rangeEnd": "10.0.0.7", "gateway": "10.0.0.7"}}))
	for range 5 {
		n.mustAdd(args)
		n.mustDel(args)
		_, err := n.add(noLink)
		cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, "net7")
		n.mustDel(noLink)
		_, err = n.add(noAddress)
		cnitest.WantError(t, err, types.ErrInternal, "IPAM host-local ADD")
		n.mustDel(noAddress)
	}
	if after := n.files(); len(after) != len(before) {
		t.Errorf("%d files before, after:\n%q", len(before), after)
	}
}
