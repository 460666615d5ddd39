package cni

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestTombstoneStands: an ADD that returns from IPAM does not undo a tombstone.
func TestTombstoneStands(t *testing.T) {
	n := newNode(t, 1)
	g := cnitest.NewHeldIPAM(n.Fixture, "ADD")
	pod := n.Pod("p1", 0)
	before := n.String()
	args := g.Args(pod)
	added := n.Start("ADD", args)
	g.AwaitCall()
	g.Break("DEL")
	deleted := n.Start("DEL", args)
	kit.Eventually(t, "the tombstone", func() bool { return n.Record("c1").Deleted() })
	g.Open()
	cnitest.WantError(t, <-deleted, 77, "out of order")
	cnitest.WantError(t, <-added, types.ErrTryAgainLater, "overtaken")
	if r := n.Record("c1"); !r.Deleted() {
		t.Errorf("record is %s", r.Phase)
	}
	g.Repair("DEL")
	n.MustDel(args)
	n.WantNothingLeft(before)
}

// TestDelRacesAdd: in either order, nothing is left after both.
func TestDelRacesAdd(t *testing.T) {
	n := newNode(t, 1)
	args, before := n.OnePod(nil)
	for i := range 12 {
		deleted := make(chan error, 1)
		count := 0
		n.BeforeApply(func(plan.Action) {
			if count++; count == i {
				go func() { deleted <- n.Del(args) }()
			}
		})
		_, err := n.Add(args)
		n.BeforeApply(nil)
		if err != nil {
			cnitest.WantError(t, err, types.ErrTryAgainLater, "overtaken")
		}
		if i > 0 && count >= i {
			n.Must(<-deleted)
		} else {
			n.MustDel(args)
		}
		n.WantNothingLeft(before)
	}
}

// TestDelOfNothing: DEL succeeds at any time, and calls IPAM each time.
func TestDelOfNothing(t *testing.T) {
	n := newNode(t, 1)
	g := cnitest.NewHeldIPAM(n.Fixture, "ADD")
	args := g.Args("/run/netns/none")
	n.MustDel(args)
	args.Netns = ""
	n.MustDel(args)
	calls, err := os.ReadFile(filepath.Join(g.Dir, "calls"))
	if err != nil || string(calls) != "DEL\nDEL\n" {
		t.Errorf("IPAM was called: %q, %v", calls, err)
	}
	args.StdinData = []byte(`{"name":"n","type":"bond","mode":"bonkers","links":7,"stateDir":"` + n.Dir + `"}`)
	n.MustDel(args)
	args.StdinData = []byte(`{`)
	cnitest.WantError(t, n.Del(args), types.ErrDecodingFailure, "network config")
}
