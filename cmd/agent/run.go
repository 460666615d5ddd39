package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"

	"github.com/bondkeeper/bondkeeper/pkg/cni"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/loop"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/pkg/watch"
)

// settings are the flags of run.
type settings struct {
	stateDir, logFormat, logLevel string
	workers, receiveBuffer        int
	resync, grace                 time.Duration
	patience                      reconcile.Patience
}

func runFlags(s *settings) *flag.FlagSet {
	fs := flag.NewFlagSet("agent run", flag.ContinueOnError)
	fs.StringVar(&s.stateDir, "state-dir", store.DefaultDir, "directory of the records; the plugin's stateDir must be the same")
	fs.StringVar(&s.logFormat, "log-format", "json", "json, or console for a terminal")
	fs.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	fs.IntVar(&s.workers, "workers", 0, "bonds looked at at once; 0 means 8")
	fs.IntVar(&s.receiveBuffer, "receive-buffer", 0, "bytes of kernel events that may wait; 0 means 8 MiB")
	fs.DurationVar(&s.resync, "resync", 0, "how often every bond is looked at without an event; 0 means 45s")
	fs.DurationVar(&s.grace, "grace", 0, "how long a release is left to the plugin that began it; 0 means 30s")
	fs.DurationVar(&s.patience.Carrier, "carrier-patience", 0, "how long a member may miss the carrier that its PF has before it is set down and up; 0 means 15s")
	fs.DurationVar(&s.patience.Flap, "flap", 0, "a member lost again within this time of its return is held back; 0 means 10s")
	return fs
}

// run is the agent.
func run(ctx context.Context, args []string, _ io.Writer) error {
	var s settings
	if err := parse(runFlags(&s), args); err != nil {
		return err
	}
	log, err := newLogger(s.logFormat, s.logLevel)
	if err != nil {
		return err
	}
	defer log.Sync() //nolint:errcheck // a terminal cannot be synced, and there is nobody left to tell
	records, err := store.Open(s.stateDir)
	if err != nil {
		return err
	}
	unlock, err := records.LockAgent(ctx, func(pid int) {
		log.Warn("not alone: another agent keeps the bonds of this node; waiting for it to end", zap.Int("itsPID", pid), zap.String("stateDir", s.stateDir))
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	return keep(ctx, &s, records, log)
}

// keep wires the rooms together and runs until ctx ends.
func keep(ctx context.Context, s *settings, records *store.Store, log *zap.Logger) error {
	kernel, err := link.New(link.Options{})
	if err != nil {
		return err
	}
	engine := reconcile.New(reconcile.Config{
		Kernel: kernel, Store: records, IPAM: &cni.IPAM{Stderr: os.Stderr}, Log: log, Patience: s.patience,
	})
	journal := status.NewJournal(log)
	worker := loop.New(loop.Config{
		Engine: engine, Workers: s.workers, Grace: s.grace,
		Tell: journal.Tell, Forget: journal.Forget, Log: log,
	})
	hub, err := watch.New(watch.Config{
		Dir: records.Dir(), KeyOf: store.KeyOf, List: lister(ctx, records, log),
		ReceiveBuffer: s.receiveBuffer, Resync: s.resync,
		Problem: func(err error) { log.Warn("watching", zap.Error(err)) },
	})
	if err != nil {
		return err
	}
	log.Info("agent started", zap.String("version", version), zap.Int("pid", os.Getpid()), zap.String("stateDir", records.Dir()))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return hub.Run(ctx, worker) })
	group.Go(func() error { worker.Run(ctx); return nil })
	err = group.Wait()
	st := hub.Stats()
	log.Info("agent stopped", zap.Uint64("events", st.Events), zap.Uint64("overruns", st.Overruns), zap.Uint64("resyncs", st.Resyncs))
	return err
}

// lister gives the hub what it needs of the records and reports those that cannot be read.
func lister(ctx context.Context, records *store.Store, log *zap.Logger) func() ([]watch.Watched, error) {
	reported := map[string]bool{} // called from one goroutine at a time
	return func() ([]watch.Watched, error) {
		list, problems, err := records.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range problems {
			if !reported[p.Path] {
				reported[p.Path] = true
				log.Error("a record cannot be read; its bond is not kept", zap.String("bond", p.Key.String()), zap.Error(p))
			}
		}
		watched := make([]watch.Watched, len(list))
		for i, r := range list {
			watched[i] = watch.WatchedOf(r)
		}
		return watched, nil
	}
}

func newLogger(format, level string) (*zap.Logger, error) {
	lv, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("%w: -log-level %q: want debug, info, warn or error", errUsage, level)
	}
	var c zap.Config
	switch format {
	case "json":
		c = zap.NewProductionConfig()
		c.Sampling = nil // a storm is when every line counts
		c.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	case "console":
		c = zap.NewDevelopmentConfig()
		c.EncoderConfig.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		c.DisableStacktrace = true
		c.DisableCaller = true
	default:
		return nil, fmt.Errorf("%w: -log-format %q: want json or console", errUsage, format)
	}
	c.DisableStacktrace = true
	c.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	c.Level = zap.NewAtomicLevelAt(lv)
	c.OutputPaths, c.ErrorOutputPaths = []string{"stderr"}, []string{"stderr"}
	return c.Build()
}
