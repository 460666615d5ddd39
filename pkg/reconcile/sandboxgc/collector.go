package sandboxgc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Runtime lists the sandboxes of the node's container runtime.
type Runtime interface {
	// Sandboxes returns all of them, in any state, or an error.
	Sandboxes(ctx context.Context) ([]string, error)
	// Events calls wake when one may be gone, until ctx ends.
	Events(ctx context.Context, wake func())
}

// Engine releases a bond as DEL does; *reconcile.Engine is one.
type Engine interface {
	ReleaseRecord(context.Context, *bond.Record) error
}

// Config configures a Collector. Engine, Runtime, Records and SandboxAlive are required.
type Config struct {
	Engine  Engine
	Runtime Runtime
	// Records lists the records that can be read.
	Records func(context.Context) ([]*bond.Record, error)
	// SandboxAlive reports whether a sandbox's path still leads to its netns.
	SandboxAlive func(bond.Sandbox) (bool, error)
	// Grace is how long a sandbox must have been gone. Default 5 min.
	Grace time.Duration
	// Log may be nil.
	Log *zap.Logger
}

const (
	defaultGrace = 5 * time.Minute
	// period is the time between two passes without an event while a sandbox is gone, and restPeriod otherwise.
	period, restPeriod = time.Minute, 15 * time.Minute
	// debounce waits for what a runtime does after an event, and merges events.
	debounce = time.Second
	// listTimeout bounds a request to the runtime, releaseTimeout a release with its IPAM.
	listTimeout, releaseTimeout = 10 * time.Second, 30 * time.Second
	// addTimeout is longer than any ADD: an ADD that failed cleans up itself.
	addTimeout = 2 * time.Minute
)

// errEmpty: a node that has had a pod has a sandbox, at least the agent's. A runtime that has lost or not yet loaded
// its state has none.
var errEmpty = errors.New("the container runtime lists no sandbox at all, which cannot be true")

// Collector releases bonds of sandboxes that are gone. Make one with New.
type Collector struct {
	c          Config
	woken      chan struct{}
	candidates map[bond.Key]candidate
	// gone: the last pass found the end of a sandbox, or does not know.
	gone      bool
	lastError string // of listing; empty if there was none
}

// candidate is a sandbox that is gone by both conditions.
type candidate struct {
	sandbox bond.Sandbox
	// since is the time of the runtime's first answer without it.
	since time.Time
}

// New makes a Collector.
func New(c Config) *Collector {
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return &Collector{c: c, woken: make(chan struct{}, 1), candidates: map[bond.Key]candidate{}}
}

// Wake requests a pass, because the netns of a sandbox may have ended. It does not block.
func (c *Collector) Wake() { c.wake() }

// Run collects until ctx ends. It must be called once.
func (c *Collector) Run(ctx context.Context) {
	eventsEnded := make(chan struct{})
	go func() { defer close(eventsEnded); c.c.Runtime.Events(ctx, c.wake) }()
	defer func() { <-eventsEnded }()
	for ctx.Err() == nil {
		c.collect(ctx)
		c.wait(ctx)
	}
}

// wait waits for the next pass.
func (c *Collector) wait(ctx context.Context) {
	timer := time.NewTimer(c.next())
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
		return
	case <-c.woken:
	}
	timer.Reset(debounce)
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	select {
	case <-c.woken: // by the same change
	default:
	}
}

func (c *Collector) wake() {
	select {
	case c.woken <- struct{}{}:
	default: // a pass is due already
	}
}

// next returns the time to the next pass. A release that was due and failed waits a period.
func (c *Collector) next() time.Duration {
	if !c.gone {
		return restPeriod
	}
	wait := period
	for _, m := range c.candidates {
		if left := c.c.Grace - time.Since(m.since); left > 0 {
			wait = min(wait, left)
		}
	}
	return wait
}

// collect makes one pass: it checks both conditions and releases what met them for long enough. The runtime is queried
// last, and only if a netns is gone.
func (c *Collector) collect(ctx context.Context) {
	ended, err := c.endedSandboxes(ctx)
	var listed []string
	if err == nil && len(ended) > 0 {
		listed, err = c.listSandboxes(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	c.gone = err != nil || len(ended) > 0
	c.logErrorChange(err)
	if err != nil {
		clear(c.candidates) // sandboxes may have been there meanwhile: the period starts again
		return
	}
	next := make(map[bond.Key]candidate, len(c.candidates))
	for _, r := range ended {
		if slices.Contains(listed, r.Key.ContainerID) {
			continue // its DEL may still come
		}
		next[r.Key] = c.candidateOf(r)
	}
	c.candidates = next
	c.releaseAll(ctx, slices.DeleteFunc(ended, func(r *bond.Record) bool {
		m, ok := c.candidates[r.Key]
		return !ok || time.Since(m.since) < c.c.Grace
	}))
}

// parallelReleases is the number of releases at the same time.
const parallelReleases = 8

// releaseAll releases several bonds at the same time, so that an IPAM plugin that hangs does not delay the others for
// long.
func (c *Collector) releaseAll(ctx context.Context, due []*bond.Record) {
	slots := make(chan struct{}, parallelReleases)
	released := make([]bool, len(due))
	var all sync.WaitGroup
	for i, r := range due {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			released[i] = c.release(ctx, r)
		})
	}
	all.Wait()
	for i, r := range due {
		if released[i] {
			delete(c.candidates, r.Key)
		}
	}
}

// endedSandboxes returns the records whose netns is gone, except those of a running ADD, and tombstones, whose release
// has started.
func (c *Collector) endedSandboxes(ctx context.Context) ([]*bond.Record, error) {
	records, err := c.c.Records(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for sandboxes that are gone: %w", err)
	}
	var ended []*bond.Record
	for _, r := range records {
		if r.Deleted() || r.Phase == bond.PhaseAdding && time.Since(r.Created).Abs() < addTimeout {
			continue
		}
		// An error is reported with every reconcile of the bond, and is no proof.
		if alive, err := c.c.SandboxAlive(r.Sandbox); err == nil && !alive {
			ended = append(ended, r)
		}
	}
	return ended, nil
}

func (c *Collector) listSandboxes(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	ids, err := c.c.Runtime.Sandboxes(ctx)
	if err == nil && len(ids) == 0 {
		err = errEmpty
	}
	return ids, err
}

// candidateOf returns the known candidate of a record, or a new one.
func (c *Collector) candidateOf(r *bond.Record) candidate {
	if m, known := c.candidates[r.Key]; known && m.sandbox == r.Sandbox {
		return m
	}
	c.logFor(r).Info("sandbox gone without DEL; grace period started", zap.Duration("in", c.c.Grace))
	return candidate{sandbox: r.Sandbox, since: time.Now()}
}

// release does what DEL would have done. If it fails after the tombstone was written, the controller finishes it;
// before that, the next pass does.
func (c *Collector) release(ctx context.Context, r *bond.Record) (released bool) {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	if err := c.c.Engine.ReleaseRecord(ctx, r); err != nil {
		c.logFor(r).Error("cannot release a bond without sandbox", zap.Error(err))
		return false
	}
	c.logFor(r).Warn("bond released: its sandbox ended without DEL")
	return true
}

// logErrorChange logs the first error, and once that there is none any more.
func (c *Collector) logErrorChange(err error) {
	before := c.lastError
	c.lastError = ""
	if err != nil {
		c.lastError = err.Error()
	}
	switch {
	case c.lastError != "" && before == "":
		c.c.Log.Warn("container runtime gives no usable answer; sandbox GC is paused", zap.Error(err))
	case c.lastError == "" && before != "":
		c.c.Log.Info("container runtime answers again; sandbox GC resumed")
	}
}

func (c *Collector) logFor(r *bond.Record) *zap.Logger {
	return c.c.Log.With(zap.String("bond", r.Key.String()), zap.String("pod", r.Pod.String()), zap.String("netns", r.Sandbox.Path))
}
