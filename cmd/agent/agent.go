package main

import (
	"context"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/podsetup"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/controller"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/sandboxgc"
	"github.com/bondkeeper/bondkeeper/pkg/runtime"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/pkg/watch"
)

// lockWait is how long a worker waits for a bond's lock before the bond is queued again.
const lockWait = 10 * time.Millisecond

// runAgent connects the packages and runs until ctx ends.
func runAgent(ctx context.Context, s *settings, records *store.Store, health *health, log *zap.Logger) error {
	kernel, err := link.New(link.Options{SysctlNet: s.sysctlNet})
	if err != nil {
		return err
	}
	sandboxes, err := runtime.Open(s.runtime)
	if err != nil {
		return err
	}
	defer sandboxes.Close() //nolint:errcheck // nothing was written through it
	stopped := &runtime.Stopped{}
	setup := podsetup.New(sandboxes, log)
	readable := readableRecords(records)
	engine := reconcile.New(reconcile.Config{
		Kernel: kernel, Store: records, IPAM: &ipam.Client{Stderr: os.Stderr}, Log: log, Timing: s.timing,
		Records: readable, SandboxAlive: kernel.SandboxAlive, Setup: setup.Evidence, Stopping: stopped.Has, LockWait: lockWait,
	})
	transitions := status.NewTransitionLogger(log)
	reporter, err := newReporter(s, records.Dir(), setup.NetworkStatus, log)
	if err != nil {
		return err
	}
	worker := controller.New(controller.Config{
		Engine: engine, Workers: s.workers, Grace: s.grace, Log: log,
		Report: func(st bond.Status) { transitions.Report(st); reporter.Report(st) },
		Forget: func(k bond.Key) { transitions.Forget(k); reporter.Forget(k) },
	})
	list := recordLister(ctx, records, log)
	monitor, err := watch.New(watch.Config{
		Dir: records.Dir(), KeyOf: store.KeyOf, List: list,
		ReceiveBuffer: s.receiveBuffer, Resync: s.resync,
		OnError: func(err error) { log.Warn("watch error", zap.Error(err)) },
	})
	if err != nil {
		return err
	}
	gc := sandboxgc.New(sandboxgc.Config{
		Engine: engine, Runtime: sandboxes, SandboxAlive: kernel.SandboxAlive, Grace: s.sandboxGrace, Log: log,
		Records: readable,
	})
	metrics, err := newMetrics(transitions, reporter, monitor, worker)
	if err != nil {
		return err
	}
	health.started(monitor, worker, s.resync, metrics)
	log.Info("agent started", zap.String("version", version), zap.Int("pid", os.Getpid()), zap.String("stateDir", records.Dir()), zap.String("node", s.node), zap.String("runtime", s.runtime))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return monitor.Run(ctx, worker) })
	group.Go(func() error { sweepLocks(ctx, records, log); return nil })
	group.Go(func() error { worker.Run(ctx); return nil })
	group.Go(func() error { gc.Run(ctx); return nil })
	group.Go(func() error { sandboxes.Stops(ctx, stopped.Add); return nil })
	group.Go(func() error { setup.Run(ctx); return nil })
	group.Go(func() error {
		if reportErr := reporter.Run(ctx); reportErr != nil {
			log.Error("pod status reporting has stopped, repair has not; fix the error and restart the agent", zap.Error(reportErr))
		}
		return nil
	})
	err = group.Wait()
	logStop(log, monitor.Stats())
	return err
}

func logStop(log *zap.Logger, st watch.Stats) {
	log.Info("agent stopped", zap.Uint64("events", st.Events), zap.Uint64("overruns", st.Overruns), zap.Uint64("resyncs", st.Resyncs))
}

// sweepPause is the time between two sweeps for lock files that killed processes left.
const sweepPause = 10 * time.Minute

// sweepLocks removes the lock files of killed processes at the agent's start and from time to time.
func sweepLocks(ctx context.Context, records *store.Store, log *zap.Logger) {
	for {
		if err := records.SweepLocks(ctx); err != nil && ctx.Err() == nil {
			log.Warn("cannot remove lock files of killed processes", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepPause):
		}
	}
}

// readableRecords lists the records that can be read; recordLister logs the others.
func readableRecords(records *store.Store) func(context.Context) ([]*bond.Record, error) {
	return func(ctx context.Context) ([]*bond.Record, error) {
		list, _, err := records.List(ctx)
		return list, err
	}
}

// recordLister lists the records for the monitor and logs those that cannot be read, once.
func recordLister(ctx context.Context, records *store.Store, log *zap.Logger) func() ([]*bond.Record, error) {
	reported := map[string]bool{} // called from one goroutine at a time
	return func() ([]*bond.Record, error) {
		list, bad, err := records.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range bad {
			if !reported[p.Path] {
				reported[p.Path] = true
				log.Error("record unreadable; its bond is not repaired", zap.String("bond", p.Key.String()), zap.Error(p))
			}
		}
		return list, nil
	}
}
