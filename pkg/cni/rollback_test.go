package cni

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestAddAfterKilled: an ADD that was killed leaves a record; the next one cleans up.
func TestAddAfterKilled(t *testing.T) {
	for _, phase := range []bond.Phase{bond.PhaseAdding, bond.PhaseDeleting} {
		t.Run(string(phase), func(t *testing.T) {
			n := newNode(t, 1)
			args, before := n.OnePod(nil)
			n.MustAdd(args)
			r := n.Record("c1")
			r.Phase = phase
			n.Must(n.Store.Save(r))
			result := n.MustAdd(args)
			if len(result.IPs) != 1 || len(n.Leases()) != 1 {
				t.Errorf("IPs %v, leases %v", result.IPs, n.Leases())
			}
			n.MustDel(args)
			n.WantNothingLeft(before)
		})
	}
}

// TestAddRollback: whatever fails, at any step, ADD leaves nothing and returns that error.
func TestAddRollback(t *testing.T) {
	boom := errors.New("boom")
	n := newNode(t, 1)
	args, before := n.OnePod(nil)
	n.MustAdd(args)
	steps := n.Applies()
	n.MustDel(args)
	n.WantNothingLeft(before)
	if steps < 7 {
		t.Fatalf("only %d steps to fail at", steps)
	}
	for i := 1; i <= steps; i++ {
		t.Run(fmt.Sprintf("kernel rejects change %d", i), func(t *testing.T) {
			n.FailApply(i, boom)
			result, err := n.Add(args)
			if err == nil { // only the announcement failed; nothing is missing
				n.Must(n.Check(args, result))
				if log := n.stderr.String(); !strings.Contains(log, "neighbours") {
					t.Errorf("a rejected change was passed over:\n%s", log)
				}
				n.MustDel(args)
				n.WantNothingLeft(before)
				return
			}
			cnitest.WantError(t, err, types.ErrInternal, "boom", "bond0")
			n.WantNothingLeft(before)
		})
	}
	t.Run("kernel cannot be read", func(t *testing.T) {
		n.FailObserve(1, boom)
		_, err := n.Add(args)
		cnitest.WantError(t, err, types.ErrInternal, "boom")
		n.WantNothingLeft(before)
	})
	t.Run("IPAM has no address left", func(t *testing.T) {
		full := n.Args("c1", args.Netns, n.Config(map[string]any{"ipam": map[string]any{"type": "host-local", "dataDir": n.Data, "subnet": "10.0.0.0/24", "rangeStart": "10.0.0.7", "rangeEnd": "10.0.0.7", "gateway": "10.0.0.7"}}))
		_, err := n.Add(full)
		cnitest.WantError(t, err, types.ErrInternal, "IPAM host-local ADD")
		n.WantNothingLeft(before)
	})
	t.Run("standard output is closed", func(t *testing.T) {
		p := n.newPlugin(nil)
		p.Stdout = brokenPipe{}
		err := p.Funcs().Add(args)
		cnitest.WantError(t, err, types.ErrIOFailure, "broken pipe")
		n.WantNothingLeft(before)
	})
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestAddRollbackFails: what could not be returned stays recorded, and DEL returns it.
func TestAddRollbackFails(t *testing.T) {
	n := newNode(t, 1)
	args, before := n.OnePod(nil)
	first, second := errors.New("no room for the address"), errors.New("cannot delete")
	n.FailApplyIf(func(a plan.Action) error {
		switch a.(type) {
		case plan.AddAddress:
			return first
		case plan.DeleteBond:
			return second
		}
		return nil
	})
	_, err := n.Add(args)
	cnitest.WantError(t, err, types.ErrInternal, first.Error())
	if strings.Contains(err.Error(), second.Error()) {
		t.Errorf("the first error is hidden by the second: %v", err)
	}
	if !strings.Contains(n.stderr.String(), second.Error()) {
		t.Errorf("the second error is not reported: %s", n.stderr)
	}
	if r := n.Record("c1"); !r.Deleted() {
		t.Errorf("record is %s, not a tombstone", r.Phase)
	}
	n.FailApplyIf(nil)
	n.MustDel(args)
	n.WantNothingLeft(before)
}

// TestAddBusy: ADD retries what a driver cannot do at the moment before it fails.
func TestAddBusy(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	refusals := 2
	n.FailApplyIf(func(a plan.Action) error {
		if _, ok := a.(plan.Enslave); ok && a.Subject() == 1 && refusals > 0 {
			refusals--
			return fmt.Errorf("set MAC: %w", bond.ErrBusy)
		}
		return nil
	})
	n.MustAdd(n.Args("c1", pod, n.Config(nil)))
	if refusals != 0 {
		t.Errorf("%d refusals left", refusals)
	}
}

// TestAddKilled: an ADD that is killed at any change of the kernel leaves what a DEL can clean up.
func TestAddKilled(t *testing.T) {
	n := newNode(t, 1)
	args, before := n.OnePod(nil)
	n.MustAdd(args)
	steps := n.Applies()
	n.MustDel(args)
	for i := range steps {
		n.dieAfter(args, i)
		n.MustDel(args)
		n.WantNothingLeft(before)
	}
}

// dieAfter runs an ADD that ends, like a killed one, before change i+1.
func (n *node) dieAfter(args *skel.CmdArgs, i int) {
	n.Helper()
	type death struct{}
	done := 0
	n.BeforeApply(func(plan.Action) {
		if done == i {
			panic(death{})
		}
		done++
	})
	defer n.BeforeApply(nil)
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(death); !ok {
				panic(r)
			}
		}
	}()
	_, _ = n.Add(args)
}

// TestFullStateDir: without a record there is no change.
func TestFullStateDir(t *testing.T) {
	n := newNode(t, 1)
	args, before := n.OnePod(map[string]any{"stateDir": filepath.Join(n.Dir, "file", "state")})
	n.Must(os.WriteFile(filepath.Join(n.Dir, "file"), nil, 0o600))
	_, err := n.Add(args)
	cnitest.WantError(t, err, types.ErrIOFailure, "state")
	n.WantNothingLeft(before)
}

// TestAddOnOlderKernel: if the kernel does not support an option, ADD fails with an error that names the required
// version.
func TestAddOnOlderKernel(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	before := n.String()
	n.OmitOptions(bond.OptArpMissedMax)
	_, err := n.Add(n.Args("c1", pod, n.Config(map[string]any{"arpMissedMax": 3})))
	cnitest.WantError(t, err, types.ErrUnsupportedField, "arpMissedMax", "5.17", "bond0")
	n.WantNothingLeft(before)
	args := n.Args("c1", pod, n.Config(nil))
	result := n.MustAdd(args) // an option that is not requested is not missed
	n.MustCheck(args, result)
}

// TestAddIPAMTooSlow: an IPAM plugin that does not return in time fails ADD, with an error about that, and leaves
// nothing.
func TestAddIPAMTooSlow(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	before := n.String()
	dir := t.TempDir()
	script := "#!/bin/sh\n[ \"$CNI_COMMAND\" != ADD ] || exec sleep 600\n"
	kit.Program(t, filepath.Join(dir, "slow"), script)
	args := n.Args("c1", pod, n.Config(map[string]any{"ipam": map[string]any{"type": "slow"}}))
	args.Path = dir
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := n.plugin.Add(ctx, args)
	cnitest.WantError(t, err, types.ErrTryAgainLater, "IPAM slow ADD", "no answer")
	n.WantNothingLeft(before)
}
