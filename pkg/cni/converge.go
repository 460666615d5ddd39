package cni

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// start writes the record and makes the first attempt to reconcile. If the pod cannot be observed at the moment it tries
// again: nothing has been written then.
func (s *session) start(ctx context.Context, rec *bond.Record) (out reconcile.Outcome, err error) {
	err = whileBusy(ctx, func() (busy bool, err error) {
		out, err = s.engine.Start(ctx, rec, func(obs *bond.Observed) error { return checkFree(rec, obs) })
		return out.Record == nil && errors.Is(err, bond.ErrBusy), err
	})
	return out, err
}

// search is FindMembers. If the links cannot be read at the moment it tries again.
func (s *session) search(ctx context.Context, q bond.MemberQuery) (found bond.MemberResult, err error) {
	err = whileBusy(ctx, func() (busy bool, err error) {
		found, err = s.FindMembers(ctx, q)
		return errors.Is(err, bond.ErrBusy), err
	})
	return found, err
}

// whileBusy calls try until it is not busy, for busyTimeout or until ctx ends, and returns its last error.
func whileBusy(ctx context.Context, try func() (busy bool, err error)) error {
	for deadline := time.Now().Add(busyTimeout); ; {
		busy, err := try()
		if !busy || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(busyPause):
		}
	}
}

// attempt is one attempt to reconcile.
type attempt struct {
	reconcile.Outcome
	err error
}

func (s *session) converge(ctx context.Context, rec *bond.Record, c *Config) (reconcile.Outcome, error) {
	out, err := s.engine.Converge(ctx, rec.Key)
	return s.convergeFrom(ctx, rec, c, attempt{out, err})
}

// convergeFrom reconciles again after an attempt, until the bond is as ADD guarantees: it exists, is up, and has all
// members, or with startDegraded those that are not lost. It does not wait for carrier. What the kernel rejects as busy
// is retried for busyTimeout.
func (s *session) convergeFrom(ctx context.Context, rec *bond.Record, c *Config, last attempt) (reconcile.Outcome, error) {
	deadline := time.Now().Add(busyTimeout)
	for {
		out, err := last.Outcome, last.err
		if out.Record == nil && err == nil || out.Record != nil && (out.Record.Deleted() || !out.Record.SameAdd(rec)) {
			return out, errDELStarted
		}
		if err == nil && complete(&out, c) {
			return out, nil
		}
		retry := err == nil && out.Plan.Verdict != plan.Stuck || errors.Is(err, bond.ErrBusy)
		pause := out.RetryAfter
		if pause == 0 && errors.Is(err, bond.ErrBusy) { // the kernel could not be read
			pause = busyPause
		}
		if !retry || pause == 0 || time.Now().Add(pause).After(deadline) {
			return out, incomplete(rec, &out, err)
		}
		select {
		case <-ctx.Done():
			return out, incomplete(rec, &out, ctx.Err())
		case <-time.After(pause):
		}
		last.Outcome, last.err = s.engine.Converge(ctx, rec.Key)
	}
}

func complete(out *reconcile.Outcome, c *Config) bool {
	if out.Observed.Bond == nil || !out.Observed.Bond.Up || len(out.Plan.Actions) > 0 || out.Plan.Verdict == plan.Stuck {
		return false
	}
	if out.Observed.Bond.Unread != "" && len(out.Record.Addresses) > 0 {
		return false // they may be missing
	}
	unattached := out.Unattached()
	if !c.StartDegraded {
		return len(unattached) == 0
	}
	lost := slices.DeleteFunc(slices.Clone(unattached), func(i int) bool { return out.Observed.Members[i].Location != bond.Lost })
	return len(lost) == len(unattached) && len(unattached) < len(out.Observed.Members)
}

// incomplete returns why the bond is not as ADD guarantees: the error, or else the findings.
func incomplete(rec *bond.Record, out *reconcile.Outcome, err error) error {
	if err != nil {
		return err
	}
	var found []string
	for _, f := range out.Plan.Findings {
		found = append(found, f.Text)
	}
	return fmt.Errorf("bond %s of pod %s: %s", rec.BondName(), rec.Pod, strings.Join(found, "; "))
}
