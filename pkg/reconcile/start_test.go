package reconcile_test

import (
	"errors"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// starting is a fixture before its ADD has written the record.
func starting(t *testing.T) (*fixture, *bond.Record) {
	t.Helper()
	r := newFixture(t, nil)
	rec := r.Record.Clone()
	rec.Phase = bond.PhaseAdding
	must(t, r.store.Remove(rec.Key))
	return r, rec
}

func TestStart(t *testing.T) {
	r, rec := starting(t)
	checked := false
	out, err := r.engine.Start(t.Context(), rec, func(obs *bond.Observed) error {
		checked = obs.Bond == nil && obs.SandboxAlive
		if _, err := r.store.Load(rec.Key); !errors.Is(err, bond.ErrNotFound) {
			t.Errorf("the record was written before the check (%v)", err)
		}
		return nil
	})
	if err != nil || !checked || out.Observed.Bond == nil || len(out.Unattached()) > 0 {
		t.Errorf("checked %t, bond %v, not attached %v: %v", checked, out.Observed.Bond, out.Unattached(), err)
	}
	if _, err = r.store.Load(rec.Key); err != nil {
		t.Error(err)
	}
	if out, err = r.engine.Start(t.Context(), rec, func(*bond.Observed) error { return nil }); !errors.Is(err, bond.ErrExists) || out.Record != nil {
		t.Errorf("a second time: got %v, want ErrExists", err)
	}
}

func TestStartThatIsRejectedWritesNothing(t *testing.T) {
	r, rec := starting(t)
	rejected := errors.New("rejected")
	applies := r.Applies()
	out, err := r.engine.Start(t.Context(), rec, func(*bond.Observed) error { return rejected })
	if !errors.Is(err, rejected) || out.Record != nil || r.Applies() != applies {
		t.Errorf("got %v, %d changes", err, r.Applies()-applies)
	}
	if _, err := r.store.Load(rec.Key); !errors.Is(err, bond.ErrNotFound) {
		t.Errorf("record: %v", err)
	}
}
