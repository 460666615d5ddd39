package reconcile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

func TestReleaseReturnsALostVFForItsOwnPlugin(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.UnbindVF(r.VFs[0]))
	must(t, r.BindVF(r.VFs[0])) // is in the host now
	must(t, r.engine.Release(t.Context(), r.Record.Key))
	l, ok := r.Link(scenario.PodPath, "net1")
	if !ok || l.PCI != r.VFs[0] || l.Master != 0 || l.MAC != r.Record.Members[0].Original.MAC {
		t.Fatalf("net1 is %+v in the pod\n%s", l, r.Node)
	}
}

func TestReleaseWithFailingIPAMKeepsTheTombstone(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.ipam.err = errors.New("no lease file")
	if err := r.engine.Release(t.Context(), r.Record.Key); !errors.Is(err, r.ipam.err) {
		t.Fatalf("error %v", err)
	}
	if _, ok := r.Link(scenario.PodPath, scenario.BondIf); ok {
		t.Fatal("the bond is kept up by a failing IPAM")
	}
	rec, err := r.store.Load(r.Record.Key)
	if err != nil || !rec.Deleted() {
		t.Fatalf("record %+v, %v; want a tombstone", rec, err)
	}
	out, err := r.engine.Inspect(t.Context(), r.Record.Key)
	if must(t, err); !strings.Contains(out.Status.Reason, "the addresses remain allocated: attempt 1 failed") || !strings.Contains(out.Status.Reason, "no lease file") {
		t.Errorf("reason %q", out.Status.Reason)
	}
	r.ipam.err = nil
	for range 3 { // however often it is called
		must(t, r.engine.Release(t.Context(), r.Record.Key))
	}
	checkAbsent(t, r)
	if r.ipam.calls != 2 {
		t.Fatalf("IPAM was asked %d times, want 2", r.ipam.calls)
	}
}

// TestReturnedMembersAreLeftAlone: while only the addresses remain allocated, the links that were returned are not
// changed, neither in the pod nor in the host.
func TestReturnedMembersAreLeftAlone(t *testing.T) {
	for _, inHost := range []bool{false, true} {
		r := ready(t, scenario.OKD())
		r.update(func(rec *bond.Record) {
			for i := range rec.Members {
				rec.Members[i].SriovCNI, rec.Members[i].Original.FromHost = nil, inHost
			}
		})
		for i := range r.Record.Members {
			r.Detach(&r.Record.Members[i])
		}
		r.ipam.err = errors.New("no lease file")
		if err := r.engine.Release(t.Context(), r.Record.Key); !errors.Is(err, r.ipam.err) {
			t.Fatalf("error %v", err)
		}
		path := map[bool]string{false: scenario.PodPath, true: linktest.Host}[inHost]
		must(t, r.SetMAC(path, "net1", "02:00:00:00:00:99"))
		must(t, r.SetMTU(path, "net1", 1300))
		must(t, r.Rename(path, "net1", "next"))
		changes := r.Changes()
		r.restart()
		_, _ = r.converge()
		_ = r.engine.Release(t.Context(), r.Record.Key)
		r.ipam.err = nil
		must(t, r.engine.Release(t.Context(), r.Record.Key))
		if r.Changes() != changes {
			t.Errorf("in the host %t: %v", inHost, r.ChangeLog()[changes:])
		}
		if _, err := r.store.Load(r.Record.Key); !errors.Is(err, bond.ErrNotFound) {
			t.Errorf("the record is still there: %v", err)
		}
	}
}

// TestReleaseLeavesTheNextBondAlone: during the call of IPAM, another process ends the bond, and the next one is
// created under its key.
func TestReleaseLeavesTheNextBondAlone(t *testing.T) {
	r := ready(t, scenario.OKD())
	next := r.Record.Clone()
	next.Phase, next.Created = bond.PhaseReady, r.Record.Created.Add(time.Second)
	r.ipam.during = func() { must(t, r.store.Save(next)) }
	must(t, r.engine.Release(t.Context(), r.Record.Key))
	rec, err := r.store.Load(r.Record.Key)
	if err != nil || rec.Phase != bond.PhaseReady || rec.CNI.IPAMDone {
		t.Fatalf("record %+v, %v; want the next bond's as it was", rec, err)
	}
	r.wantState(bond.StateReady)
}

// TestReleaseOfARecordThatWasReplaced: a release that was decided before another ADD of the same bond does not release
// that one.
func TestReleaseOfARecordThatWasReplaced(t *testing.T) {
	r := ready(t, scenario.OKD())
	old, err := r.store.Load(r.Record.Key)
	must(t, err)
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error {
		rec.Created = rec.Created.Add(time.Second)
		return nil
	}))
	must(t, r.engine.ReleaseRecord(t.Context(), old))
	if out := r.wantState(bond.StateReady); out.Record.Deleted() || r.ipam.calls != 0 {
		t.Fatalf("the new bond's record is %s, IPAM was asked %d times", out.Record.Phase, r.ipam.calls)
	}
	again, err := r.store.Load(r.Record.Key)
	must(t, err)
	must(t, r.engine.ReleaseRecord(t.Context(), again))
	checkAbsent(t, r)
}

func TestReleaseGivesUpOnADriverThatRejects(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.FailApplyIf(func(a plan.Action) error {
		if m, ok := a.(plan.SetUp); ok && m.Subject() == 1 {
			return fmt.Errorf("driver: %w", bond.ErrBusy)
		}
		return nil
	})
	for i := range 3 {
		err := r.engine.Release(t.Context(), r.Record.Key)
		if (err == nil) != (i == 2) {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	if _, err := r.store.Load(r.Record.Key); !errors.Is(err, bond.ErrNotFound) {
		t.Fatalf("record is still there: %v", err)
	}
}

// TestLastReleaseWaitsForACard: the attempt that gives up on a member waits for its card like the others.
func TestLastReleaseWaitsForACard(t *testing.T) {
	r := ready(t, scenario.OKD())
	tries, rejection := 0, bond.ErrBusy
	r.FailApplyIf(func(a plan.Action) error {
		if m, ok := a.(plan.SetUp); !ok || m.Subject() != 1 {
			return nil
		}
		if tries++; tries > 3 {
			return nil
		}
		return fmt.Errorf("driver: %w", rejection)
	})
	for range 2 {
		if err := r.engine.Release(t.Context(), r.Record.Key); !errors.Is(err, bond.ErrBusy) {
			t.Fatal(err)
		}
	}
	rejection = bond.ErrInUse
	must(t, r.engine.Release(t.Context(), r.Record.Key))
	checkAbsent(t, r)
	if l, _ := r.Link(scenario.PodPath, r.Record.Members[1].Original.Name); l.Up != r.Record.Members[1].Original.Up || tries != 4 {
		t.Errorf("after %d tries: %+v", tries, l)
	}
}

// TestReleaseGivesUpOnAPodThatCannotBeObserved: a DEL ends, too, if the kernel cannot be observed at all.
func TestReleaseGivesUpOnAPodThatCannotBeObserved(t *testing.T) {
	r := ready(t, scenario.OKD())
	blind := errors.New("setns: operation not permitted")
	r.FailObserve(3, blind)
	for i := range 3 {
		if err := r.engine.Release(t.Context(), r.Record.Key); (err == nil) != (i == 2) {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	if _, err := r.store.Load(r.Record.Key); !errors.Is(err, bond.ErrNotFound) {
		t.Fatalf("record is still there: %v", err)
	}
}

func TestTombstoneIsNeverRepaired(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.ipam.err = errors.New("later")
	_ = r.engine.Release(t.Context(), r.Record.Key)
	must(t, r.UnbindVF(r.VFs[1]))
	must(t, r.BindVF(r.VFs[1]))
	r.restart()
	if out, err := r.converge(); err != nil || out.Observed.Bond != nil || out.Status.State != bond.StateDeleting {
		t.Fatalf("%+v, %v", out.Status, err)
	}
}
