package cni

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

// gate is an IPAM plugin that is host-local, after the verb that it holds was let through.
type gate struct{ dir string }

// newGate makes the plugin "gated", which holds ADD.
func newGate(t *testing.T) gate {
	t.Helper()
	g := gate{t.TempDir()}
	g.touch(t, "hold-ADD")
	script := fmt.Sprintf(`#!/bin/sh
dir=%s
if [ -e $dir/hold-$CNI_COMMAND ]; then
  touch $dir/entered
  while [ ! -e $dir/open ]; do sleep 0.01; done
fi
echo "$CNI_COMMAND" >> $dir/calls
[ ! -e $dir/broken-$CNI_COMMAND ] || { echo '{"code": 77, "msg": "out of order"}'; exit 1; }
exec %s
`, g.dir, filepath.Join(plugins, "host-local"))
	if err := os.WriteFile(filepath.Join(g.dir, "gated"), []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return g
}

func (g gate) touch(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (g gate) entered() bool { _, err := os.Stat(filepath.Join(g.dir, "entered")); return err == nil }

func (g gate) args(n *node, pod string) *skel.CmdArgs {
	args := n.args("c1", pod, n.config(map[string]any{"ipam": map[string]any{"type": "gated", "dataDir": n.data, "subnet": "10.0.0.0/24"}}))
	args.Path = g.dir
	return args
}

// adding starts an ADD and does not wait for its end.
func (n *node) adding(args *skel.CmdArgs) <-chan error {
	added := make(chan error, 1)
	go func() {
		_, err := n.add(args)
		added <- err
	}()
	return added
}

// TestAddOutOfTime: an ADD whose time is up still gives everything back.
func TestAddOutOfTime(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	ctx, cancel := context.WithCancel(t.Context())
	added := make(chan error)
	go func() { added <- n.plugin.Add(ctx, g.args(n, pod)) }()
	waitFor(t, "IPAM", g.entered)
	cancel()
	if err := <-added; err == nil {
		t.Error("ADD succeeded")
	}
	n.nothingLeft(before)
}

// TestAddDuringAdd: of two ADDs of one bond the second waits, and then finds the first's bond.
func TestAddDuringAdd(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	args := g.args(n, pod)
	added := n.adding(args)
	waitFor(t, "IPAM", g.entered)
	impatient, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	cnitest.WantError(t, withCNICode(n.plugin.Add(impatient, args)), types.ErrTryAgainLater, "c1")
	again := n.adding(args)
	g.touch(t, "open")
	n.must(<-added)
	cnitest.WantError(t, <-again, types.ErrInvalidEnvironmentVariables, "DEL")
	if r := n.record("c1"); r.Phase != bond.PhaseReady {
		t.Errorf("record is %s", r.Phase)
	}
	n.mustDel(args)
	n.nothingLeft(before)
}

func TestIPAMErrors(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	args := g.args(n, pod)
	g.touch(t, "open")
	g.touch(t, "broken-ADD")
	_, err := n.add(args)
	cnitest.WantError(t, err, 77, "IPAM gated ADD", "out of order")
	n.nothingLeft(before)
	n.must(os.Remove(filepath.Join(g.dir, "broken-ADD")))

	n.mustAdd(args)
	g.touch(t, "broken-DEL")
	cnitest.WantError(t, n.del(args), 77, "IPAM gated DEL", "out of order")
	if n.String() != before {
		t.Errorf("the members must be given back though IPAM fails:\n%s", n.Fake)
	}
	if !n.record("c1").Deleted() {
		t.Error("the record must stay until IPAM is done")
	}
	n.must(os.Remove(filepath.Join(g.dir, "broken-DEL")))
	n.mustDel(args)
	n.nothingLeft(before)
}
