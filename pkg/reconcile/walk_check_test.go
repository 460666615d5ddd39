package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// rest ends all faults, lets the runtime finish its DELs, and compares the node with the model.
func (w *walker) rest(ctx context.Context, _ []int) error {
	w.fake.FailApplyIf(nil)
	w.later, w.leases.fails = map[int]func(){}, 0
	for _, b := range w.bonds {
		if b != nil && !b.dead {
			b.RestoreHardware()
		}
	}
	for i, b := range w.bonds {
		if b == nil || !b.dead && !b.ending {
			continue
		}
		if err := w.end(ctx, i); err != nil {
			return err
		}
		if w.bonds[i] != nil {
			return fmt.Errorf("%s: DEL does not succeed", b.Record.Key)
		}
	}
	if err := w.finish(ctx); err != nil {
		return err
	}
	for range 60 {
		var wait time.Duration
		for _, b := range w.bonds {
			if b == nil {
				continue
			}
			out, err := w.engine.Converge(ctx, b.Record.Key)
			if err != nil && out.RetryAfter == 0 { // the agent's worker tries again soon
				out.RetryAfter = time.Second
			}
			if out.RetryAfter > 0 && (wait == 0 || out.RetryAfter < wait) {
				wait = out.RetryAfter
			}
		}
		if wait == 0 {
			return w.check(ctx)
		}
		w.clock.turn(wait)
	}
	return errors.New("no end of retries")
}

// finish does the agent's part of a DEL that has left the addresses to it.
func (w *walker) finish(ctx context.Context) error {
	list, _, err := w.store.List(ctx)
	if err != nil {
		return err
	}
	for _, rec := range list {
		if rec.Deleted() {
			if err := w.engine.ReleaseRecord(ctx, rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// check compares the node with the model, and fails if anything still changes.
func (w *walker) check(ctx context.Context) error {
	for _, b := range w.bonds {
		if b == nil {
			continue
		}
		if err := w.checkBond(ctx, b); err != nil {
			return err
		}
	}
	if err := w.checkFiles(); err != nil {
		return err
	}
	changes := w.fake.Changes()
	w.clock.turn(time.Hour)
	for _, b := range w.bonds {
		if b == nil {
			continue
		}
		before, err := w.store.Load(b.Record.Key)
		if err != nil {
			return err
		}
		out, err := w.engine.Converge(ctx, b.Record.Key)
		if err != nil || out.RetryAfter != 0 || !out.Record.Updated.Equal(before.Updated) || w.fake.Changes() != changes {
			return errors.Join(fmt.Errorf("%s is not silent: %s, retry after %s, changes %v", b.Record.Key, out.Status.Reason, out.RetryAfter, w.fake.ChangeLog()[changes:]), err)
		}
	}
	return nil
}

func (w *walker) checkBond(ctx context.Context, b *walkBond) error {
	out, err := w.engine.Inspect(ctx, b.Record.Key)
	if err != nil {
		return err
	}
	drift := slices.ContainsFunc(out.Plan.Findings, func(f plan.Finding) bool { return f.Code == plan.OptionDrift })
	if out.Status.State != bond.StateReady && !drift {
		return fmt.Errorf("%s is %s: %s", b.Record.Key, out.Status.State, out.Status.Reason)
	}
	var wrong []string
	want := func(what string, is, want any) {
		contested := slices.ContainsFunc(out.Record.Contested, func(c bond.Contest) bool { return strings.HasPrefix(c.Setting, what) })
		if fmt.Sprint(is) != fmt.Sprint(want) && !contested {
			wrong = append(wrong, fmt.Sprintf("%s: %v, want %v", what, is, want))
		}
	}
	o, m := out.Observed.Bond, b.model
	want("up", o.Up, true)
	want("MTU", o.MTU, m.Spec.MTU)
	for _, a := range m.Addresses {
		want("address "+a.Prefix.String(), slices.Contains(o.Addresses, a.Prefix), true)
	}
	want("addresses", len(o.Addresses), len(m.Addresses))
	for _, r := range m.Routes {
		want("route "+r.String(), slices.ContainsFunc(o.Routes, func(is bond.Route) bool { return is.Dst == r.Dst && is.Gateway == r.Gateway }), true)
	}
	for i, member := range m.Members {
		l := out.Observed.Members[i].Link
		want(member.Name+" name", l.Name, member.Name)
		want(member.Name+" master", l.Master, o.Index)
		want(member.Name+" up", l.Up, true)
		switch {
		case m.Spec.Options.MACFollowsActive():
			want(member.Name+" MAC", l.MAC, member.MAC)
		case m.Spec.Options.SwapsMACs():
			want("members with MAC "+string(member.MAC), membersWith(out.Observed, member.MAC), 1)
		default:
			want(member.Name+" MAC", l.MAC, o.MAC)
		}
		vf, _ := w.fake.VF(member.PCI)
		want(member.Name+" VLAN", *vf.Settings.VLAN, *member.VF.Settings.VLAN)
		want(member.Name+" spoof check", *vf.Settings.SpoofChk, *member.VF.Settings.SpoofChk)
		want(member.Name+" trust", *vf.Settings.Trust, *member.VF.Settings.Trust)
	}
	if !drift {
		for name, value := range m.Spec.Options {
			want("option "+string(name), o.Options[name], value)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s:\n  %s", b.Record.Key, strings.Join(wrong, "\n  "))
	}
	return nil
}

// checkFiles fails if a file or an address of an ended bond is left.
func (w *walker) checkFiles() error {
	living := map[string]bool{}
	for _, b := range w.bonds {
		if b != nil {
			living[b.Record.Key.String()] = true
		}
	}
	for key := range w.leases.held {
		if !living[key.String()] {
			return fmt.Errorf("the address of %s is allocated for ever", key)
		}
	}
	return filepath.WalkDir(w.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(e.Name(), "ipam-"), ".")
		if !living[name] {
			return fmt.Errorf("%s is left", path)
		}
		return nil
	})
}

func membersWith(o bond.Observed, mac bond.MAC) (n int) {
	for _, m := range o.Members {
		if m.Link.MAC == mac {
			n++
		}
	}
	return n
}
