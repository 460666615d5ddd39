package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

func openStore(t *testing.T) *store.Store {
	t.Helper()
	records, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// TestWithLock: two agents never run at once. The second one runs when the first one has ended, or not at all if it is
// stopped before.
func TestWithLock(t *testing.T) {
	records := openStore(t)
	core, logs := observer.New(zap.WarnLevel)
	// onWait returns a log that calls f when an agent waits.
	onWait := func(f func()) *zap.Logger {
		return zap.New(core, zap.Hooks(func(zapcore.Entry) error { f(); return nil }))
	}
	var ended atomic.Bool
	second := make(chan error)
	err := WithLock(t.Context(), records, zap.NewNop(), func() error {
		ctx, stop := context.WithCancel(t.Context())
		err := WithLock(ctx, records, onWait(stop), func() error { return errors.New("it has run") })
		if err != nil {
			t.Errorf("an agent that is stopped while it waits: %v", err)
		}
		waiting := make(chan struct{})
		go func() {
			second <- WithLock(t.Context(), records, onWait(func() { close(waiting) }), func() error {
				if !ended.Load() {
					t.Error("the second agent runs beside the first")
				}
				return os.ErrClosed
			})
		}()
		<-waiting
		ended.Store(true)
		return nil
	})
	if err != nil {
		t.Errorf("first agent: %v", err)
	}
	if err := <-second; !errors.Is(err, os.ErrClosed) {
		t.Errorf("second agent: %v, want what it returned", err)
	}
	for _, line := range logs.All() {
		if line.ContextMap()["otherPID"] != int64(os.Getpid()) || line.ContextMap()["stateDir"] != records.Dir() {
			t.Errorf("log %v", line)
		}
	}
}

// TestRecordLister: a record that cannot be read is logged once and left out, also by ReadableRecords.
func TestRecordLister(t *testing.T) {
	records := openStore(t)
	rec := scenario.New(scenario.OKD()).Record
	// The record of a newer version keeps its name, so each listing finds it.
	newer := `{"version":1000,"record":{}}`
	if err := errors.Join(records.Save(rec), os.WriteFile(filepath.Join(records.Dir(), "c1@bond0.json"), []byte(newer), 0o600)); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.ErrorLevel)
	var unreadable atomic.Int64
	list := RecordLister(t.Context(), records, &unreadable, zap.New(core))
	for range 2 {
		if all, err := list(); err != nil || len(all) != 1 || all[0].Key != rec.Key {
			t.Errorf("%v, %v; want the record of %s", all, err, rec.Key)
		}
	}
	if all, err := ReadableRecords(records)(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%v, %v; want one record", all, err)
	}
	if n := unreadable.Load(); n != 1 {
		t.Errorf("%d records are counted as unreadable, want 1", n)
	}
	if n := logs.FilterField(zap.String("bond", "c1@bond0")).Len(); n != 1 || logs.Len() != 1 {
		t.Errorf("logged %d times, want once: %v", n, logs.All())
	}
}

// TestSweepLocks ends with its context, and logs an error only before that.
func TestSweepLocks(t *testing.T) {
	records := openStore(t)
	if err := os.RemoveAll(filepath.Join(records.Dir(), "locks")); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.WarnLevel)
	ctx, stop := context.WithCancel(t.Context())
	log := zap.New(core, zap.Hooks(func(zapcore.Entry) error { stop(); return nil }))
	SweepLocks(ctx, records, log)
	SweepLocks(ctx, records, log)
	if logs.Len() != 1 {
		t.Errorf("log %v, want one line", logs.All())
	}
}
