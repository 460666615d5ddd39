package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/sandboxgc"
	"github.com/bondkeeper/bondkeeper/pkg/runtime"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// Grace is the collector's grace period in these tests.
const Grace = 2 * time.Second

// Collector is the part of an agent that releases bonds of ended sandboxes. It counts its passes and releases.
type Collector struct {
	Store     *store.Store
	Engine    *reconcile.Engine
	runtime   runtime.Runtime
	collector *sandboxgc.Collector
	stop      func()

	mu       sync.Mutex
	wake     func()
	passes   int // when the records were listed
	released map[bond.Key]int
}

// NewCollector returns a collector for the records in dir, with the runtime at endpoint.
func NewCollector(dir, endpoint string, log *zap.Logger) (*Collector, error) {
	k := &Collector{released: map[bond.Key]int{}, wake: func() {}, stop: func() {}}
	var err error
	if k.Store, err = store.Open(dir); err != nil {
		return nil, err
	}
	kernel, err := link.New(link.Options{})
	if err != nil {
		return nil, err
	}
	if k.runtime, err = runtime.Open(endpoint); err != nil {
		return nil, err
	}
	k.Engine = reconcile.New(reconcile.Config{Kernel: kernel, Store: k.Store, IPAM: &ipam.Client{}, Log: log})
	k.collector = sandboxgc.New(sandboxgc.Config{Engine: k, Runtime: k, Records: k.records, SandboxAlive: kernel.SandboxAlive, Grace: Grace, Log: log})
	return k, nil
}

// Start runs the collector until Close.
func (k *Collector) Start(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); k.collector.Run(ctx) }()
	k.stop = func() { cancel(); <-done }
}

// Close stops it.
func (k *Collector) Close() error {
	k.stop()
	return k.runtime.Close()
}

// Sandboxes implements sandboxgc's interface with the runtime.
func (k *Collector) Sandboxes(ctx context.Context) ([]string, error) { return k.runtime.Sandboxes(ctx) }

// Events is the runtime's. Looks are caused by hand as well.
func (k *Collector) Events(ctx context.Context, wake func()) {
	k.mu.Lock()
	k.wake = wake
	k.mu.Unlock()
	k.runtime.Events(ctx, wake)
}

// ReleaseRecord is the engine's, and counted.
func (k *Collector) ReleaseRecord(ctx context.Context, r *bond.Record) error {
	k.mu.Lock()
	k.released[r.Key]++
	k.mu.Unlock()
	return k.Engine.ReleaseRecord(ctx, r)
}

func (k *Collector) records(ctx context.Context) ([]*bond.Record, error) {
	k.mu.Lock()
	k.passes++
	k.mu.Unlock()
	records, _, err := k.Store.List(ctx)
	return records, err
}

// AwaitPasses waits for n more complete passes. Passes are at least a second apart, so more passes than Grace has
// seconds would end a grace period.
func (k *Collector) AwaitPasses(ctx context.Context, n int) error {
	k.mu.Lock()
	last := k.passes + n + 1 // when that one starts, the earlier ones have ended
	k.mu.Unlock()
	return until(ctx, fmt.Sprintf("%d looks", n), func(context.Context) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.wake()
		if k.passes < last {
			return errors.New("not yet")
		}
		return nil
	})
}

// Released is how often the release of a container's bond was started.
func (k *Collector) Released(containerID string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.released[bondOf(containerID)]
}

// AwaitReleased waits until a bond has no record.
func (k *Collector) AwaitReleased(ctx context.Context, containerID string) error {
	return until(ctx, "release of "+containerID, func(context.Context) error {
		_, err := k.Store.Load(bondOf(containerID))
		if errors.Is(err, bond.ErrNotFound) {
			return nil
		}
		return errors.Join(errors.New("it has a record"), err)
	})
}

func bondOf(containerID string) bond.Key {
	return bond.Key{ContainerID: containerID, IfName: "bond0"}
}
