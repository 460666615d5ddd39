package reconcile

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/history"
)

// errDeleted: a DEL began while the bond was being reconciled.
var errDeleted = errors.New("a DEL of the bond has begun")

// markDeleted makes the record a tombstone at once, also while the other side reconciles the bond. If it cannot (the
// disk is full, for example), the tombstone is written when the bond's lock is free. only is the record that may be
// marked; nil for any.
func (e *Engine) markDeleted(k bond.Key, only *bond.Record) {
	rec, err := e.store.Load(k)
	if err != nil || rec.Deleted() || only != nil && !rec.SameAdd(only) {
		return
	}
	if err := e.store.MarkDeleted(rec); err != nil {
		e.logFor(rec).Warn("cannot mark the bond as deleted; DEL waits for its lock", zap.Error(err))
	}
}

// deletedMeanwhile reports whether a DEL has begun since the record was loaded.
func (e *Engine) deletedMeanwhile(rec *bond.Record) bool {
	return !rec.Deleted() && e.store.MarkedDeleted(rec)
}

// deletionPoll is how often the deletion mark is checked while the kernel is observed.
const deletionPoll = 100 * time.Millisecond

// untilDeleted returns a context that ends with errDeleted soon after a DEL of the bond has begun. The DEL waits for
// the bond's lock, and observing a bond in a pod with very many routes takes seconds. The caller calls stop.
func (e *Engine) untilDeleted(ctx context.Context, rec *bond.Record) (_ context.Context, stop func()) {
	if rec.Deleted() {
		return ctx, func() {}
	}
	ctx, end := context.WithCancelCause(ctx)
	loaded := *rec // the caller's may change after stop
	var poll func()
	poll = func() {
		switch {
		case ctx.Err() != nil:
		case e.store.MarkedDeleted(&loaded):
			end(errDeleted)
		default:
			time.AfterFunc(deletionPoll, poll)
		}
	}
	timer := time.AfterFunc(deletionPoll, poll)
	return ctx, func() { timer.Stop(); end(nil) }
}

// yieldToDelete sets the loaded record to what a later Load returns.
func (e *Engine) yieldToDelete(out *Outcome, h *history.History) {
	out.Record.Phase, out.Record.Updated = bond.PhaseDeleting, e.now()
	if out.Observed.Members == nil { // not observed
		out.Observed.Members = make([]bond.ObservedMember, len(out.Record.Members))
	}
	out.Status = statusOf(out.Record, &out.Observed, out.Plan, h)
	e.logFor(out.Record).Info("reconcile ended: a DEL has started")
}

// How long the teardown of a bond waits for a card that is in use, mostly by sriov-cni for another pod.
const (
	inUseWait  = 5 * time.Second
	inUsePause = 50 * time.Millisecond
)

// whenFree calls end until no card that it needs is in use, for some seconds at most, and then a last time unless ctx has
// ended. No lock is held between the calls.
func whenFree(ctx context.Context, end func(last bool) error) error {
	limited, cancel := context.WithTimeout(ctx, inUseWait)
	defer cancel()
	for {
		last := limited.Err() != nil
		err := end(last)
		if last || !errors.Is(err, bond.ErrInUse) {
			return err
		}
		select {
		case <-limited.Done():
		case <-time.After(inUsePause):
		}
		if ctx.Err() != nil {
			return err
		}
	}
}
