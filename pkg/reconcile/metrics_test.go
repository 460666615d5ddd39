package reconcile_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// counted is the metrics of an agent's engine.
type counted struct {
	*status.RepairMetrics
	registry *prometheus.Registry
	series   int // at the start
}

func newCounted(t *testing.T) *counted {
	t.Helper()
	c := &counted{RepairMetrics: status.NewRepairMetrics(reconcile.LossCauses, reconcile.Findings(), reconcile.Actions()), registry: prometheus.NewRegistry()}
	must(t, c.Register(c.registry))
	c.series, _ = c.gather(t)
	return c
}

// gather returns the number of series, and the counters that are not 0: "losses member MemberLost 1".
func (c *counted) gather(t *testing.T) (series int, counters []string) {
	t.Helper()
	families, err := c.registry.Gather()
	must(t, err)
	for _, f := range families {
		name := strings.TrimSuffix(strings.TrimPrefix(f.GetName(), "bondkeeper_"), "_total")
		for _, m := range f.GetMetric() {
			if f.GetType() != dto.MetricType_COUNTER {
				continue
			}
			if series++; m.GetCounter().GetValue() == 0 {
				continue
			}
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			counters = append(counters, strings.Join(strings.Fields(fmt.Sprintln(name, labels["subject"], labels["cause"], labels["action"], labels["result"], m.GetCounter().GetValue())), " "))
		}
	}
	return series, counters
}

// want compares the counters that are not 0. No series may have been added.
func (c *counted) want(t *testing.T, want ...string) {
	t.Helper()
	if _, got := c.gather(t); !slices.Equal(got, want) {
		t.Errorf("counted %q, want %q", got, want)
	}
	c.bounded(t)
}

// bounded checks that no series was added.
func (c *counted) bounded(t *testing.T) {
	t.Helper()
	if series, _ := c.gather(t); series != c.series {
		t.Errorf("%d series, %d at the start: a cause or an action is not in the list", series, c.series)
	}
}

// balanced checks, after all bonds have ended, that each loss has ended once, and that the series are those of the
// start.
func (c *counted) balanced(t *testing.T) error {
	t.Helper()
	series, all := c.gather(t)
	if losses, ends := c.sum(t, "losses ", ""), c.sum(t, "repairs ", ""); ends != losses || series != c.series {
		return fmt.Errorf("%d losses, %d ends; %d series, %d at the start: %q", losses, ends, series, c.series, all)
	}
	return nil
}

// sum is the sum of all values of a metric with these labels.
func (c *counted) sum(t *testing.T, prefix, suffix string) (sum int) {
	t.Helper()
	_, all := c.gather(t)
	for _, text := range all {
		if at := strings.LastIndex(text, " "); strings.HasPrefix(text, prefix) && strings.HasSuffix(text[:at], suffix) {
			var n int
			_, err := fmt.Sscan(text[at+1:], &n)
			must(t, err)
			sum += n
		}
	}
	return sum
}

// counts makes the engine that of a new agent, which counts.
func (r *fixture) counts(s reconcile.Store) *counted {
	c := newCounted(r.t)
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: s, IPAM: r.ipam, Now: r.clock.Now, Metrics: c})
	return c
}

func TestLossAndRepairAreCounted(t *testing.T) {
	r := ready(t, scenario.OKD())
	c := r.counts(r.store)
	r.wantState(bond.StateReady)
	c.want(t)
	must(t, r.UnbindVF(r.VFs[0]))
	must(t, r.SetDown(scenario.PodPath, scenario.BondIf))
	r.wantState(bond.StateDegraded)
	r.wantState(bond.StateDegraded)
	lost := []string{"losses bond LinkDown 1", "losses member MemberLost 1"}
	c.want(t, lost...) // the bond has another MAC
	must(t, r.BindVF(r.VFs[0]))
	r.wantState(bond.StateReady)
	c.want(t, append(lost, "repairs bond LinkDown recovered 1", "repairs member MemberLost recovered 1")...)
}

// TestRepairIsTimed: from the observed loss to recovery, also over a restart of the agent. While the VF has no driver
// it is absent, and the rest is repair.
func TestRepairIsTimed(t *testing.T) {
	r := ready(t, scenario.OKD())
	c := r.counts(r.store)
	must(t, r.SetDown(scenario.PodPath, "net2"))
	must(t, r.UnbindVF(r.VFs[0]))
	r.wantState(bond.StateDegraded)
	c.wantTimes(t, "repair_duration_seconds member", 0)
	c.wantTimes(t, "repair_phase_duration_seconds repair", 0)
	c = r.counts(r.store)
	r.wantState(bond.StateDegraded)
	r.clock.turn(20 * time.Second)
	must(t, r.BindVF(r.VFs[0]))
	r.FailApplyIf(func(plan.Action) error { return bond.ErrBusy })
	_, _ = r.converge()
	r.FailApplyIf(nil)
	r.clock.turn(3 * time.Second)
	r.wantState(bond.StateReady)
	c.wantTimes(t, "repair_duration_seconds member", 23)
	c.wantTimes(t, "repair_phase_duration_seconds absent", 20)
	c.wantTimes(t, "repair_phase_duration_seconds repair", 3)
}

// wantTimes compares what a histogram has observed. It has classic and native buckets.
func (c *counted) wantTimes(t *testing.T, series string, want ...float64) {
	t.Helper()
	families, err := c.registry.Gather()
	must(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h != nil && strings.TrimPrefix(f.GetName(), "bondkeeper_")+" "+m.GetLabel()[0].GetValue() == series {
				var sum float64
				for _, s := range want {
					sum += s
				}
				if h.GetSampleCount() != uint64(len(want)) || h.GetSampleSum() != sum || len(h.GetBucket()) == 0 || h.Schema == nil {
					t.Errorf("%s is %v, want %v", series, h, want)
				}
				return
			}
		}
	}
	t.Errorf("no histogram %s", series)
}

// TestLossesAreCountedOnceOverRestarts: an agent that finds an open loss in the record does not count it, but its end.
func TestLossesAreCountedOnceOverRestarts(t *testing.T) {
	r := ready(t, scenario.OKD())
	first := r.counts(r.store)
	must(t, r.UnbindVF(r.VFs[0]))
	r.wantState(bond.StateDegraded)
	first.want(t, "losses member MemberLost 1")
	second := r.counts(r.store)
	r.wantState(bond.StateDegraded)
	second.want(t)
	must(t, r.BindVF(r.VFs[0]))
	r.wantState(bond.StateReady)
	second.want(t, "repairs member MemberLost recovered 1")
	third := r.counts(r.store)
	r.wantState(bond.StateReady)
	third.want(t)
}

// TestAbandonedLosses: the bond is released while a member is lost, by the plugin or by the agent itself.
func TestAbandonedLosses(t *testing.T) {
	for name, release := range map[string]func(t *testing.T, r *fixture){
		"by the plugin": func(t *testing.T, r *fixture) {
			plugin := reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now})
			must(t, plugin.Delete(t.Context(), r.Record.Key))
		},
		"by the agent": func(t *testing.T, r *fixture) {
			r.ipam.err = errors.New("no server")
			if err := r.engine.ReleaseRecord(t.Context(), r.Record); !errors.Is(err, r.ipam.err) {
				t.Fatal(err)
			}
			r.ipam.err = nil
			must(t, r.engine.ReleaseRecord(t.Context(), r.Record))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			must(t, r.UnbindVF(r.VFs[0]))
			r.wantState(bond.StateDegraded)
			c := r.counts(r.store) // a restart: the loss is known from the record
			r.wantState(bond.StateDegraded)
			release(t, r)
			for range 2 {
				_, err := r.converge()
				must(t, err)
			}
			c.want(t, "repairs member MemberLost abandoned 1")
		})
	}
}

// TestAbandonedAfterItsSandbox: the sandbox ended before the agent started.
func TestAbandonedAfterItsSandbox(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.counts(r.store)
	must(t, r.UnbindVF(r.VFs[0]))
	r.wantState(bond.StateDegraded)
	must(t, r.DeletePod(scenario.PodPath))
	c := r.counts(r.store)
	r.wantState(bond.StateDown)
	must(t, r.engine.ReleaseRecord(t.Context(), r.Record))
	c.want(t, "repairs member MemberLost abandoned 1")
}

// TestLossThatCannotBeSaved is counted once, although each reconcile tries again to save it.
func TestLossThatCannotBeSaved(t *testing.T) {
	r := ready(t, scenario.OKD())
	s := &fullStore{Store: r.store, full: true}
	c := r.counts(s)
	must(t, r.UnbindVF(r.VFs[0]))
	for range 3 {
		if _, err := r.converge(); !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
	c.want(t, "losses member MemberLost 1")
	s.full = false
	r.wantState(bond.StateDegraded)
	c.want(t, "losses member MemberLost 1")
}

// TestNewFindings: Found has what the last reconcile did not find. What a repair finds in later rounds is a
// consequence, and not new in the next reconcile.
func TestNewFindings(t *testing.T) {
	r := ready(t, bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100"})
	want := func(when string, want ...plan.Code) {
		t.Helper()
		out, _ := r.converge()
		if !slices.Equal(out.Found, want) || !out.FoundAt.Equal(r.clock.Now()) {
			t.Errorf("%s: new are %q, want %q (%v)", when, out.Found, want, out.Plan.Findings)
		}
		r.clock.turn(time.Minute)
	}
	want("healthy")
	must(t, r.UnbindVF(r.VFs[0]))
	want("lost", plan.MemberLost)
	want("still lost")
	must(t, r.UnbindVF(r.VFs[1]))
	want("another one", plan.SettingsChanged, plan.MemberLost) // the empty bond has another MAC
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	must(t, r.BindVF(r.VFs[0]))
	want("one is back and the bond is gone", plan.BondMissing)
	must(t, r.BindVF(r.VFs[1]))
	want("both are back", plan.MemberInHost)
	want("healthy again")
	must(t, r.UnbindVF(r.VFs[0]))
	want("lost again", plan.MemberLost)
	r.restart()
	want("a new agent", plan.MemberLost)
}

// TestNewFindingsBesideAMemberThatStaysAway: what is found when the addresses are read is new, too, and only once.
func TestNewFindingsBesideAMemberThatStaysAway(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.MoveToHost(scenario.PodPath, "net2"))
	r.Claim(r.Record.Members[1].PCI, "/run/netns/other")
	_, _ = r.converge()
	r.FailApplyIf(func(a plan.Action) error {
		if _, is := a.(plan.AddAddress); is {
			return unix.EPERM
		}
		return nil
	})
	must(t, r.FlushAddresses(scenario.PodPath, scenario.BondIf))
	for _, want := range []int{1, 0, 0} {
		r.clock.turn(time.Minute)
		out, _ := r.converge()
		if n := len(out.Found); n != want || n > 0 && out.Found[0] != plan.SettingsChanged {
			t.Errorf("new are %q, want %d", out.Found, want)
		}
	}
}

// TestRejectedActionsAreCounted, and neither a busy card nor a stale plan is.
func TestRejectedActionsAreCounted(t *testing.T) {
	r := ready(t, scenario.OKD())
	c := r.counts(r.store)
	fail := func(err error) {
		r.FailApplyIf(func(a plan.Action) error {
			if _, ok := a.(plan.SetUp); ok {
				return err
			}
			return nil
		})
		_, _ = r.converge()
		r.clock.turn(time.Minute)
	}
	must(t, r.SetDown(scenario.PodPath, "net2"))
	for _, err := range []error{bond.ErrInUse, bond.ErrBusy, bond.ErrStale, bond.ErrGone} {
		fail(err)
	}
	c.want(t, "losses member LinkDown 1")
	fail(unix.EPERM)
	fail(bond.ErrUnsupported)
	c.want(t, "action_failures SetUp 2", "losses member LinkDown 1")
}
