package reconcile_test

import (
	"errors"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
)

// TestEarlierBoot: a record that outlived a reboot names VFs that other pods may use now. Its addresses are released,
// no link is changed, and the record is removed.
func TestEarlierBoot(t *testing.T) {
	r := ready(t, scenario.OKD())
	for i := range r.VFs {
		must(t, r.MoveToNetns(scenario.PodPath, r.Record.Members[i].Name, linktest.Host, ""))
	}
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error {
		rec.Sandbox.Boot = "an earlier one"
		for i := range rec.Members {
			rec.Members[i].Original = bond.Original{Name: "was", MAC: "02:00:00:00:00:77", MTU: 1280, FromHost: true}
		}
		return nil
	}))
	r.restart()
	applies := r.Applies()
	if out, err := r.converge(); err != nil || out.Status.State != bond.StateDown || out.RetryAfter != 0 {
		t.Errorf("%s, %v, retry %s; want Down and no more", out.Status.State, err, out.RetryAfter)
	}
	must(t, r.engine.Release(t.Context(), r.Record.Key))
	if _, err := r.store.Load(r.Record.Key); !errors.Is(err, bond.ErrNotFound) || r.ipam.calls != 1 || r.Applies() != applies {
		t.Errorf("record: %v; %d IPAM releases, %d changes tried in the kernel; want none left, 1, 0", err, r.ipam.calls, r.Applies()-applies)
	}
}
