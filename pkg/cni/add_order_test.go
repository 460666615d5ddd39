package cni

import (
	"context"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

// TestAddOutOfTime: an ADD whose time is over still rolls everything back.
func TestAddOutOfTime(t *testing.T) {
	n := newNode(t, 1)
	g := cnitest.NewHeldIPAM(n.Fixture, "ADD")
	pod := n.Pod("p1", 0)
	before := n.String()
	ctx, cancel := context.WithCancel(t.Context())
	added := make(chan error)
	go func() { added <- n.plugin.Add(ctx, g.Args(pod)) }()
	g.AwaitCall()
	cancel()
	if err := <-added; err == nil {
		t.Error("ADD succeeded")
	}
	n.WantNothingLeft(before)
}

// TestAddDuringAdd: of two ADDs of one bond the second waits, and then finds the first's bond.
func TestAddDuringAdd(t *testing.T) {
	n := newNode(t, 1)
	g := cnitest.NewHeldIPAM(n.Fixture, "ADD")
	pod := n.Pod("p1", 0)
	before := n.String()
	args := g.Args(pod)
	added := n.Start("ADD", args)
	g.AwaitCall()
	impatient, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	cnitest.WantError(t, withCNICode(n.plugin.Add(impatient, args)), types.ErrTryAgainLater, "c1")
	again := n.Start("ADD", args)
	g.Open()
	n.Must(<-added)
	cnitest.WantError(t, <-again, types.ErrInvalidEnvironmentVariables, "DEL")
	if r := n.Record("c1"); r.Phase != bond.PhaseReady {
		t.Errorf("record is %s", r.Phase)
	}
	n.MustDel(args)
	n.WantNothingLeft(before)
}
