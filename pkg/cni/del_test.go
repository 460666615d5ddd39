package cni

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// TestDelDuringAdd: DEL wins, and the address that IPAM gave after it is given back.
func TestDelDuringAdd(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	args := g.args(n, pod)
	added := n.adding(args)
	waitFor(t, "IPAM", g.entered)
	deleted := n.deleting(args)
	waitFor(t, "the tombstone", func() bool { return n.record("c1").Deleted() })
	g.touch(t, "open")
	cnitest.WantError(t, <-added, types.ErrTryAgainLater, "overtaken")
	n.must(<-deleted)
	n.nothingLeft(before)
}

// deleting starts a DEL and does not wait for its end.
func (n *node) deleting(args *skel.CmdArgs) <-chan error {
	deleted := make(chan error, 1)
	go func() { deleted <- n.del(args) }()
	return deleted
}

// TestAddDuringDel: an ADD waits for a DEL that is still with IPAM, which would take its address away.
func TestAddDuringDel(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	args := g.args(n, pod)
	n.must(os.Remove(filepath.Join(g.dir, "hold-ADD")))
	n.mustAdd(args)
	g.touch(t, "hold-DEL")
	deleted := n.deleting(args)
	waitFor(t, "IPAM", g.entered)
	n.must(os.Remove(filepath.Join(g.dir, "hold-DEL")))
	added := n.adding(args)
	select {
	case err := <-added:
		g.touch(t, "open")
		t.Fatalf("ADD did not wait: %v, %v", err, <-deleted)
	case <-time.After(100 * time.Millisecond): // it is to wait, which nothing shows
	}
	g.touch(t, "open")
	n.must(<-deleted)
	n.must(<-added)
	n.endsReady(args, before)
}

// TestTombstoneStands: an ADD that comes out of IPAM does not bring a tombstone back to life.
func TestTombstoneStands(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	args := g.args(n, pod)
	added := n.adding(args)
	waitFor(t, "IPAM", g.entered)
	g.touch(t, "broken-DEL")
	deleted := n.deleting(args)
	waitFor(t, "the tombstone", func() bool { return n.record("c1").Deleted() })
	g.touch(t, "open")
	cnitest.WantError(t, <-deleted, 77, "out of order")
	cnitest.WantError(t, <-added, types.ErrTryAgainLater, "overtaken")
	if r := n.record("c1"); !r.Deleted() {
		t.Errorf("record is %s", r.Phase)
	}
	n.must(os.Remove(filepath.Join(g.dir, "broken-DEL")))
	n.mustDel(args)
	n.nothingLeft(before)
}

// TestDelRacesAdd: whichever comes first, after both nothing is left.
func TestDelRacesAdd(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	args := n.args("c1", pod, n.config(nil))
	for i := range 12 {
		deleted := make(chan error, 1)
		count := 0
		n.BeforeApply(func(plan.Action) {
			if count++; count == i {
				go func() { deleted <- n.del(args) }()
			}
		})
		_, err := n.add(args)
		n.BeforeApply(nil)
		if err != nil {
			cnitest.WantError(t, err, types.ErrTryAgainLater, "overtaken")
		}
		if i > 0 && count >= i {
			n.must(<-deleted)
		} else {
			n.mustDel(args)
		}
		n.nothingLeft(before)
	}
}

// TestDelOfNothing: DEL is right at any time, and asks IPAM at any time.
func TestDelOfNothing(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	args := g.args(n, "/run/netns/none")
	n.mustDel(args)
	args.Netns = ""
	n.mustDel(args)
	calls, err := os.ReadFile(filepath.Join(g.dir, "calls"))
	if err != nil || string(calls) != "DEL\nDEL\n" {
		t.Errorf("IPAM was called: %q, %v", calls, err)
	}
	args.StdinData = []byte(`{"name":"n","type":"bond","mode":"bonkers","links":7,"stateDir":"` + n.dir + `"}`)
	n.mustDel(args)
	args.StdinData = []byte(`{`)
	cnitest.WantError(t, n.del(args), types.ErrDecodingFailure, "network config")
}

// TestDelAfterWorldEnds: DEL succeeds whatever of the bond is missing.
func TestDelAfterWorldEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(n *node, pod string) error
	}{
		{"netns deleted", func(n *node, pod string) error { return n.DeletePod(pod) }},
		{"netns replaced", func(n *node, pod string) error { n.AddPod(pod); return nil }},
		{"bond deleted", func(n *node, pod string) error { return n.DeleteBond(pod, "bond0") }},
		{"bond renamed", func(n *node, pod string) error { return n.Rename(pod, "bond0", "other") }},
		{"member released", func(n *node, pod string) error { return n.Release(pod, "net1") }},
		{"member lost", func(n *node, _ string) error { return n.UnbindVF(n.VFs("pf0")[0]) }},
		{"member in the host", func(n *node, pod string) error { return n.MoveToHost(pod, "net2") }},
		{"addresses gone", func(n *node, pod string) error { return n.FlushAddresses(pod, "bond0") }},
		{"record gone", func(n *node, _ string) error { return n.store.Remove(bond.Key{ContainerID: "c1", IfName: "bond0"}) }},
		{"record damaged", func(n *node, _ string) error {
			return os.WriteFile(filepath.Join(n.dir, "c1@bond0.json"), []byte("{"), 0o600)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, 1)
			pod := n.pod("p1", 0)
			args := n.args("c1", pod, n.config(nil))
			n.mustAdd(args)
			n.must(tt.end(n, pod))
			n.mustDel(args)
			if l := n.leases(); len(l) > 0 {
				t.Errorf("leases left: %v", l)
			}
			n.mustDel(args)
			if l, found := n.Link(pod, "net2"); found && tt.name == "member in the host" && (l.Master != 0 || l.Name != "net2") {
				t.Errorf("net2 is not as its own plugin expects it: %+v", l)
			}
		})
	}
}
