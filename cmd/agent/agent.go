package main

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
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
func runAgent(ctx context.Context, s *settings, records *store.Store, health *agent.Health, log *zap.Logger) error {
	transitions := status.NewTransitionLogger(log) // each change of a state is logged, also if it repeats an earlier one
	log = log.WithOptions(zap.WrapCore(agent.CountRepeated))
	s.timing.PollVFs = s.resync
	kernel, err := link.New(link.Options{SysctlNet: s.sysctlNet, PFSettingsAge: s.resync / 2})
	if err != nil {
		return err
	}
	sandboxes, err := runtime.Open(s.runtime)
	if err != nil {
		return err
	}
	defer sandboxes.Close() //nolint:errcheck // nothing was written through it
	stopped, downs, unreadable := &runtime.Stopped{}, &agent.Downs{}, new(atomic.Int64)
	setup, readable := podsetup.New(sandboxes, log), agent.ReadableRecords(records)
	bonds, repairs := status.NewBondMetrics(s.metricsPerPod), agent.NewRepairMetrics()
	var monitor *watch.Monitor
	engine := reconcile.New(reconcile.Config{
		Kernel: kernel, Store: records, IPAM: &ipam.Client{Stderr: os.Stderr}, Log: log, Timing: s.timing,
		Records: readable, SandboxAlive: kernel.SandboxAlive, Setup: setup.Evidence, Stopping: stopped.Has, LockWait: lockWait, Metrics: repairs,
		Downs: downs.Count, EventsDrained: func(ctx context.Context) { monitor.Drained(ctx) }, EventsMissed: func() uint64 { return monitor.Missed() },
	})
	reporter, err := agent.NewReporter(s.kubeconfig, s.node, records.Dir(), setup.NetworkStatus, log)
	if err != nil {
		return err
	}
	worker := controller.New(controller.Config{
		Engine: engine, Workers: s.workers, Grace: s.grace, Resync: s.resync, Log: log,
		Report:      func(st bond.Status) { transitions.Report(st); bonds.Report(st); reporter.Report(st) },
		ResyncCause: watch.CauseResync, FoundByResync: repairs.FoundByResync,
		Forget: func(k bond.Key) { transitions.Forget(k); bonds.Forget(k); reporter.Forget(k); downs.Forget(k) },
	})
	monitor, err = watch.New(watch.Config{
		Dir: records.Dir(), KeyOf: store.KeyOf, List: agent.RecordLister(ctx, records, unreadable, log),
		ReceiveBuffer: s.receiveBuffer, Resync: s.resync, Load: records.Load,
		OnBondDown: downs.Add,
		Known:      func(r *bond.Record) bool { return engine.Saved(r) && records.SavedHere(r.Key) },
		OnError:    func(err error) { log.Warn("watch error", zap.Error(err)) },
	})
	if err != nil {
		return err
	}
	gc := sandboxgc.New(sandboxgc.Config{
		Engine: engine, Runtime: sandboxes, SandboxAlive: kernel.SandboxAlive, Grace: s.sandboxGrace, Log: log,
		Records: readable,
	})
	metrics, err := agent.NewMetrics(agent.Sources{Version: version, Bonds: bonds, Repairs: repairs, Reporter: reporter, Monitor: monitor, Worker: worker, Unreadable: unreadable})
	if err != nil {
		return err
	}
	health.Started(monitor, worker, s.resync, promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	log.Info("agent started", zap.String("version", version), zap.Int("pid", os.Getpid()), zap.String("stateDir", records.Dir()), zap.String("node", s.node), zap.String("runtime", s.runtime))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return monitor.Run(ctx, sink{worker, gc}) })
	group.Go(func() error { agent.SweepLocks(ctx, records, log); return nil })
	group.Go(func() error { worker.Run(ctx); return nil })
	group.Go(func() error { gc.Run(ctx); return nil })
	group.Go(func() error { sandboxes.Stops(ctx, stopped.Add); return nil })
	group.Go(func() error { setup.Run(ctx); return nil })
	group.Go(func() error { reporter.Run(ctx); return nil })
	err = group.Wait()
	logStop(log, monitor.Stats())
	return err
}

// sink passes on what the monitor enqueues, and the end of a sandbox to the garbage collection, too.
type sink struct {
	*controller.Controller
	gc *sandboxgc.Collector
}

func (s sink) Enqueue(k bond.Key, cause string) {
	s.Controller.Enqueue(k, cause)
	if cause == watch.CauseSandbox {
		s.gc.Wake()
	}
}

func logStop(log *zap.Logger, st watch.Stats) {
	log.Info("agent stopped", zap.Uint64("events", st.Events), zap.Uint64("overruns", st.Overruns), zap.Uint64("resyncs", st.Resyncs))
}
