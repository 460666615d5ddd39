package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// clock is a time that tests turn.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// ipam counts releases and fails as long as it is told to.
type ipam struct {
	mu     sync.Mutex
	calls  int
	err    error
	during func() // may be nil
}

func (i *ipam) Release(context.Context, *bond.Record) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls++
	if i.during != nil {
		i.during()
	}
	return i.err
}

// rig is an engine over a fake world and a real store.
type rig struct {
	t *testing.T
	*scenario.Node
	store  *store.Store
	clock  *clock
	ipam   *ipam
	engine *reconcile.Engine
}

func newRig(t *testing.T, options bond.Options) *rig {
	t.Helper()
	s, err := store.Open(memoryDir(t))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, Node: scenario.New(options), store: s, clock: &clock{now: time.Unix(1e9, 0)}, ipam: &ipam{}}
	must(t, s.Save(r.Record))
	r.restart()
	return r
}

// memoryDir is a temporary directory in memory, as the store's own is. On a disk, thousands of small files take several times as long.
func memoryDir(t *testing.T) string {
	t.Helper()
	const memory = "/dev/shm"
	dir, err := os.MkdirTemp(memory, "bondkeeper-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// ready is a rig whose bond was made: ADD has returned.
func ready(t *testing.T, options bond.Options) *rig {
	t.Helper()
	r := newRig(t, options)
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error { rec.Phase = bond.PhaseAdding; return nil }))
	r.wantState(bond.StateReady)
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error { rec.Phase = bond.PhaseReady; return nil }))
	return r
}

// restart is a new agent: all memory is lost.
func (r *rig) restart() {
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now})
}

func (r *rig) converge() (reconcile.Outcome, error) {
	r.t.Helper()
	return r.engine.Converge(r.t.Context(), r.Record.Key)
}

// patient converges until nothing is left to wait for that time alone would bring.
func (r *rig) patient() reconcile.Outcome {
	r.t.Helper()
	for range 40 {
		out, _ := r.converge()
		if out.RetryAfter == 0 {
			return out
		}
		r.clock.turn(out.RetryAfter)
	}
	r.t.Fatalf("no end of retries\n%s", r.Node)
	return reconcile.Outcome{}
}

func (r *rig) wantState(want bond.State) reconcile.Outcome {
	r.t.Helper()
	out := r.patient()
	if out.Status.State != want {
		r.t.Fatalf("state %s (%s), want %s\n%s", out.Status.State, out.Status.Reason, want, r.Node)
	}
	return out
}

func TestMakesTheBondOnceAndThenIsSilent(t *testing.T) {
	r := newRig(t, scenario.OKD())
	out := r.wantState(bond.StateReady)
	if !out.Record.Settled || out.Status.MAC != r.Record.Spec.MAC || out.Status.Active != "net1" {
		t.Fatalf("outcome %+v", out.Status)
	}
	changes := r.Changes()
	saved, err := r.store.Load(r.Record.Key)
	if err != nil {
		t.Fatal(err)
	}
	r.restart()
	r.clock.turn(time.Hour)
	r.wantState(bond.StateReady)
	again, err := r.store.Load(r.Record.Key)
	if err != nil {
		t.Fatal(err)
	}
	if r.Changes() != changes || !again.Updated.Equal(saved.Updated) {
		t.Fatalf("a healthy bond was touched: %v; record written %t", r.ChangeLog()[changes:], !again.Updated.Equal(saved.Updated))
	}
}

func TestEveryFaultHeals(t *testing.T) {
	for _, f := range scenario.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			f.Do(r.Node)
			r.patient() // sees the loss
			r.RestoreHardware()
			out := r.patient()
			want := r.Record.Spec.MAC
			if f.Name == "ens1: cable pulled" || f.Name == "ens1: down" {
				want = r.Record.Members[1].MAC // the kernel failed over, and nothing was lost
			}
			if out.Status.State != bond.StateReady || out.Status.MAC != want || !out.Record.Settled {
				t.Fatalf("%+v, settled %t\n%s", out.Status, out.Record.Settled, r.Node)
			}
			if len(out.Record.Repairs.Open) > 0 {
				t.Fatalf("losses left open: %v", out.Record.Repairs.Open)
			}
		})
	}
}

func TestRepairIsCountedAndTimed(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.UnbindVF(r.VFs[0]))
	out := r.wantState(bond.StateDegraded)
	if out.Record.Settled || out.Record.Repairs.Open["net1"].Cause != string(plan.MemberLost) {
		t.Fatalf("loss not noted: %+v", out.Record.Repairs)
	}
	r.clock.turn(4 * time.Second)
	r.restart() // what was noted outlives the agent
	must(t, r.BindVF(r.VFs[0]))
	out = r.wantState(bond.StateReady)
	last := out.Record.Repairs.Last
	if out.Status.Repairs != 1 || last == nil || last.Member != "net1" || last.Took != 4000 {
		t.Fatalf("repairs %+v, last %+v", out.Record.Repairs, last)
	}
}

// A failover is the kernel's: while nothing was lost, the other member may stay active.
func TestFailoverIsNotUndone(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.SetPFCarrier(scenario.Cards[0], false))
	r.wantState(bond.StateDegraded)
	must(t, r.SetPFCarrier(scenario.Cards[0], true))
	changes := r.Changes()
	if out := r.wantState(bond.StateReady); out.Status.Active != "net2" || r.Changes() != changes {
		t.Fatalf("active %s, changes %v", out.Status.Active, r.ChangeLog()[changes:])
	}
}

// A primary that is to stay away after it failed (primaryReselect) does so after a repair, too.
func TestReturningPrimaryDoesNotPreempt(t *testing.T) {
	for reselect, want := range map[string]string{"always": "net1", "failure": "net2", "better": "net2"} {
		t.Run(reselect, func(t *testing.T) {
			r := ready(t, bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptPrimary: "net1", bond.OptPrimaryReselect: reselect})
			must(t, r.UnbindVF(r.VFs[0]))
			r.wantState(bond.StateDegraded)
			must(t, r.BindVF(r.VFs[0]))
			preempted := false
			r.BeforeApply(func(plan.Action) { preempted = preempted || r.active() == "net1" })
			out := r.wantState(bond.StateReady)
			if out.Status.Active != want || reselect != "always" && preempted {
				t.Fatalf("active %s (preempted on the way: %t), want %s", out.Status.Active, preempted, want)
			}
			if l, _ := r.Link(scenario.PodPath, "net1"); l.PCI != r.VFs[0] {
				t.Fatalf("net1 is %+v", l)
			}
		})
	}
}

// active is the member that the bond sends on now.
func (r *rig) active() string {
	obs, err := r.Observe(r.t.Context(), r.Record)
	must(r.t, err)
	if obs.Bond != nil {
		return obs.Bond.Options[bond.OptActiveSlave]
	}
	return ""
}

func TestStuckVFIsBouncedOnce(t *testing.T) {
	for name, helps := range map[string]bool{"helps": true, "does not help": false} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			bounces := 1
			if !helps {
				bounces = -1
			}
			must(t, r.ResetVF(r.VFs[1], bounces))
			n := 0
			r.BeforeApply(func(a plan.Action) {
				if _, ok := a.(plan.Bounce); ok {
					n++
				}
			})
			out, err := r.converge()
			if err != nil || out.Status.State != bond.StateDegraded || out.RetryAfter != 15*time.Second {
				t.Fatalf("%s, %v, retry after %s; want to wait 15 s", out.Status.State, err, out.RetryAfter)
			}
			want := bond.StateReady
			if !helps {
				want = bond.StateDegraded
			}
			r.wantState(want)
			r.clock.turn(time.Hour)
			r.wantState(want)
			if n != 1 {
				t.Fatalf("%d bounces, want 1: %v", n, r.ChangeLog())
			}
		})
	}
}

func TestFailingMemberBacksOffAlone(t *testing.T) {
	r := ready(t, scenario.OKD())
	for _, card := range scenario.Cards {
		must(t, r.SetNumVFs(card, 0))
		must(t, r.SetNumVFs(card, 2))
	}
	refused := fmt.Errorf("the PF says no: %w", bond.ErrUnsupported)
	r.FailApplyIf(func(a plan.Action) error {
		if _, ok := a.(plan.RestoreVF); ok && a.Subject() == 0 {
			return refused
		}
		return nil
	})
	out, err := r.converge()
	if !errors.Is(err, refused) {
		t.Fatalf("error %v", err)
	}
	if got := out.Unattached(); !slices.Equal(got, []int{0}) {
		t.Fatalf("unattached %v, want net1 alone: fail closed, and harm no other\n%s", got, r.Node)
	}
	var waits []time.Duration
	for range 12 {
		r.clock.turn(out.RetryAfter)
		out, _ = r.converge()
		waits = append(waits, out.RetryAfter)
	}
	if waits[0] != 200*time.Millisecond || waits[11] != 30*time.Second {
		t.Fatalf("waits %v, want 200ms doubling to 30s", waits)
	}
	if out.Status.State != bond.StateStuck || !strings.Contains(out.Status.Reason, "the PF says no") {
		t.Fatalf("status %+v", out.Status)
	}
	refused = fmt.Errorf("the PF is resetting: %w", bond.ErrBusy)
	r.clock.turn(out.RetryAfter)
	if out, _ = r.converge(); out.Status.State != bond.StateRepairing {
		t.Fatalf("what may pass by itself calls for a person: %+v", out.Status)
	}
	r.FailApplyIf(nil)
	r.wantState(bond.StateReady)
}

func TestFlappingMemberIsHeld(t *testing.T) {
	r := ready(t, scenario.OKD())
	held := 0
	for range 6 {
		must(t, r.UnbindVF(r.VFs[0]))
		_, err := r.converge()
		must(t, err)
		must(t, r.BindVF(r.VFs[0]))
		out, err := r.converge()
		must(t, err)
		if out.RetryAfter > 0 && len(out.Unattached()) == 1 {
			held++
			if !strings.Contains(out.Status.Reason, "held back until") {
				t.Errorf("held, and the status says %q", out.Status.Reason)
			}
		}
		r.patient()
		r.clock.turn(time.Second)
	}
	if held != 4 {
		t.Fatalf("held back %d times of 6, want 4: the first return and the first repetition are answered at once", held)
	}
	r.clock.turn(time.Minute)
	r.patient()
	must(t, r.UnbindVF(r.VFs[0]))
	must(t, r.BindVF(r.VFs[0]))
	if out, err := r.converge(); err != nil || len(out.Unattached()) > 0 {
		t.Fatalf("still held after a quiet minute: %v, %v", out.Unattached(), err)
	}
}

// A process that is killed between any two changes leaves a state from which another
// reaches the bond, and its absence.
func TestKilledAnywhere(t *testing.T) {
	type killed struct{}
	for _, release := range []bool{false, true} {
		for n := 1; n < 40; n++ {
			r := newRig(t, scenario.OKD())
			if release {
				r.wantState(bond.StateReady)
			}
			left := n
			r.BeforeApply(func(plan.Action) {
				if left--; left == 0 {
					panic(killed{})
				}
			})
			died := func() (died bool) {
				defer func() { died = recover() != nil }()
				if release {
					must(t, r.engine.Release(t.Context(), r.Record.Key))
				} else {
					r.patient()
				}
				return
			}()
			r.BeforeApply(nil)
			r.restart()
			if !release {
				r.wantState(bond.StateReady)
			}
			must(t, r.engine.Release(t.Context(), r.Record.Key))
			checkAbsent(t, r)
			if !died {
				if n < 5 {
					t.Fatalf("nothing was left to kill after %d changes", n)
				}
				break
			}
		}
	}
}

func checkAbsent(t *testing.T, r *rig) {
	t.Helper()
	if _, err := r.store.Load(r.Record.Key); !errors.Is(err, bond.ErrNotFound) {
		t.Fatalf("record is still there: %v", err)
	}
	if _, ok := r.Link(scenario.PodPath, scenario.BondIf); ok {
		t.Fatalf("bond is still there\n%s", r.Node)
	}
	for _, m := range r.Record.Members {
		l, ok := r.Link(scenario.PodPath, m.Original.Name)
		if !ok || l.PCI != m.PCI || l.MAC != m.Original.MAC || l.MTU != m.Original.MTU || l.Master != 0 {
			t.Fatalf("%s is given back as %+v, want %+v", m.Name, l, m.Original)
		}
	}
}

func TestReleaseReturnsALostVFForItsOwnPlugin(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.UnbindVF(r.VFs[0]))
	must(t, r.BindVF(r.VFs[0])) // lies in the host now
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
	for range 3 { // as often as it is called
		must(t, r.engine.Release(t.Context(), r.Record.Key))
	}
	checkAbsent(t, r)
	if r.ipam.calls != 2 {
		t.Fatalf("IPAM was asked %d times, want 2", r.ipam.calls)
	}
}

// TestReturnedMembersAreLeftAlone: while only the addresses remain allocated, the links that were given back are not changed, neither
// in the pod nor in the host.
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

// TestReleaseLeavesTheNextBondAlone: while IPAM is asked, somebody else ends the bond and the next is made under its key.
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

// TestReleaseOfARecordThatWasReplaced: a release that was decided upon before another ADD of the same bond leaves that one alone.
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

func TestReleaseGivesUpOnADriverThatRefuses(t *testing.T) {
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

func TestSandboxGone(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.UnbindVF(r.VFs[0]))
	must(t, r.DeletePod(scenario.PodPath))
	must(t, r.BindVF(r.VFs[0]))
	applies := r.Applies()
	out, err := r.converge()
	if err != nil || out.Status.State != bond.StateDown || out.RetryAfter != 0 || r.Applies() != applies {
		t.Fatalf("%s, %v, retry %s, %d applies; want to stand still", out.Status.State, err, out.RetryAfter, r.Applies()-applies)
	}
	r.AddPod(scenario.PodPath) // another pod on the same path
	if out, err = r.converge(); err != nil || r.Applies() != applies {
		t.Fatalf("a netns that took the path was touched: %v, %v", out.Applied, err)
	}
	must(t, r.engine.Release(t.Context(), r.Record.Key))
}

func TestBothSidesAtOnce(t *testing.T) {
	r := newRig(t, scenario.OKD())
	other := reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			e := r.engine
			if i%2 == 1 {
				e = other
			}
			if _, err := e.Converge(t.Context(), r.Record.Key); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	r.wantState(bond.StateReady)
	if n := r.Changes(); n > 20 {
		t.Errorf("%d changes for one bond: %v", n, r.ChangeLog())
	}
	for range 8 {
		wg.Go(func() { must(t, other.Release(t.Context(), r.Record.Key)) })
		wg.Go(func() { _, _ = r.engine.Converge(t.Context(), r.Record.Key) })
	}
	wg.Wait()
	checkAbsent(t, r)
}

var _ reconcile.Kernel = (*linktest.Fake)(nil)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestUnidentifiedMember: a link of which only the name is known is told of and never taken, and does
// not keep the bond from settling.
func TestUnidentifiedMember(t *testing.T) {
	r := newRig(t, scenario.OKD())
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error {
		rec.Members[1] = bond.Member{Name: "net3", Unidentified: true}
		rec.Warnings = []string{"so it is"}
		return nil
	}))
	out := r.wantState(bond.StateDegraded)
	if !out.Record.Settled || out.Status.Members[1].State != "unidentified" || out.Status.Members[1].Reason == "" || len(out.Status.Warnings) != 1 {
		t.Fatalf("status %+v, settled %t", out.Status, out.Record.Settled)
	}
	if _, err := r.AddImpostor(scenario.PodPath, "net3"); err != nil {
		t.Fatal(err)
	}
	must(t, r.Rename(scenario.PodPath, "net2", "net4"))
	changes := r.Changes()
	out = r.wantState(bond.StateDegraded)
	if r.Changes() != changes || len(out.Record.Repairs.Open) != 0 {
		t.Errorf("something was done: %v; open losses %v", r.ChangeLog()[changes:], out.Record.Repairs.Open)
	}
}

// TestActiveSlaveAppliesUntilSettled: it is fulfilled once, when it can be, and then forgotten.
func TestActiveSlaveAppliesUntilSettled(t *testing.T) {
	for _, mode := range []string{"active-backup", "balance-tlb", "balance-alb"} {
		t.Run(mode, func(t *testing.T) {
			r := newRig(t, bond.Options{bond.OptMode: mode, bond.OptMiimon: "100", bond.OptActiveSlave: "net2"})
			must(t, r.SetPFCarrier(scenario.Cards[1], false))
			if out := r.patient(); out.Record.Settled || active(&out) != "net1" {
				t.Fatalf("before it carries: settled %t, active %s", out.Record.Settled, active(&out))
			}
			must(t, r.SetPFCarrier(scenario.Cards[1], true))
			if out := r.wantState(bond.StateReady); !out.Record.Settled || active(&out) != "net2" {
				t.Fatalf("when it carries: settled %t, active %s", out.Record.Settled, active(&out))
			}
			must(t, r.UnbindVF(r.VFs[1]))
			r.patient()
			must(t, r.BindVF(r.VFs[1]))
			must(t, r.SetNumVFs(scenario.Cards[0], 0)) // whoever is active now is the kernel's choice
			must(t, r.SetNumVFs(scenario.Cards[0], 2))
			r.wantState(bond.StateReady)
			changes := r.Changes()
			must(t, r.SetOption(scenario.PodPath, scenario.BondIf, bond.OptActiveSlave, "net1"))
			out := r.wantState(bond.StateReady)
			if active(&out) != "net1" || r.Changes() != changes {
				t.Errorf("later: active %s, %v", active(&out), r.ChangeLog()[changes:])
			}
		})
	}
}

func active(out *reconcile.Outcome) string {
	for i, m := range out.Observed.Members {
		if m.Link.Index == out.Observed.Bond.Active {
			return out.Record.Members[i].Name
		}
	}
	return "none"
}
