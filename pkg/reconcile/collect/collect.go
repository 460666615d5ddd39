// Package collect releases bonds whose sandbox ended without a DEL: Multus calls none when it has
// lost its notes of a pod, and a runtime whose state was wiped calls none at all. What is
// left then is a record, and the addresses that IPAM holds for it.
//
// A sandbox is gone when two witnesses agree for a whole period: its netns is not on its
// path any more, and the container runtime, in every answer that it gave meanwhile, did not
// have it. The package decides that, and nothing else: what a release is, is the engine's.
package collect

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

// Runtime tells which sandboxes the node's container runtime has.
type Runtime interface {
	// Sandboxes are all that it has, in whatever state, or an error.
	Sandboxes(ctx context.Context) ([]string, error)
	// Events calls wake when one may have gone, until ctx ends.
	Events(ctx context.Context, wake func())
}

// Engine releases a bond as DEL does; *reconcile.Engine is one.
type Engine interface {
	ReleaseRecord(context.Context, *bond.Record) error
}

// Config is what a Collector is made of. Engine, Runtime, Records and SandboxAlive are required.
type Config struct {
	Engine  Engine
	Runtime Runtime
	// Records lists the records that can be read.
	Records func(context.Context) ([]*bond.Record, error)
	// SandboxAlive says whether a sandbox's path still leads to its netns. An error says
	// nothing about it.
	SandboxAlive func(bond.Sandbox) (bool, error)
	// Grace is how long a sandbox must have been gone. Default 5 min.
	Grace time.Duration
	// Log may be nil.
	Log *zap.Logger
}

const (
	defaultGrace = 5 * time.Minute
	// period is how often it looks without an event.
	period = time.Minute
	// settle lets what a runtime does after an event come to an end, and merges events.
	settle = time.Second
	// answerTimeout bounds an answer of the runtime, releaseTimeout a release with its IPAM.
	answerTimeout, releaseTimeout = 10 * time.Second, 30 * time.Second
	// addPatience is longer than any ADD runs: an ADD that failed cleans up by itself.
	addPatience = 2 * time.Minute
)

// errEmpty: a node that has had a pod has some sandbox, if only the agent's own. A runtime that
// has lost or not yet loaded its state has none.
var errEmpty = errors.New("the container runtime says that it has no sandbox at all, which is taken for no answer")

// Collector finds sandboxes that are gone. Make one with New.
type Collector struct {
	c       Config
	woken   chan struct{}
	missing map[bond.Key]missing
	trouble string // why nothing is known; empty when it is
}

// missing is a sandbox that both witnesses miss.
type missing struct {
	sandbox bond.Sandbox
	// since is when the runtime first gave an answer without it.
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
	return &Collector{c: c, woken: make(chan struct{}, 1), missing: map[bond.Key]missing{}}
}

// Run works until ctx ends. It must be called once.
func (c *Collector) Run(ctx context.Context) {
	followed := make(chan struct{})
	go func() { defer close(followed); c.c.Runtime.Events(ctx, c.wake) }()
	defer func() { <-followed }()
	for ctx.Err() == nil {
		c.look(ctx)
		c.wait(ctx)
	}
}

// wait waits for the next look.
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
	timer.Reset(settle)
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	select {
	case <-c.woken: // by the same stir
	default:
	}
}

func (c *Collector) wake() {
	select {
	case c.woken <- struct{}{}:
	default: // a look is due already
	}
}

// next is how long there is to wait for something to do. What was due and failed waits a period.
func (c *Collector) next() time.Duration {
	wait := period
	for _, m := range c.missing {
		if left := c.c.Grace - time.Since(m.since); left > 0 {
			wait = min(wait, left)
		}
	}
	return wait
}

// look asks the witnesses once and releases what was missing for long enough. The runtime is
// asked last, and not at all while every netns is alive.
func (c *Collector) look(ctx context.Context) {
	dead, err := c.dead(ctx)
	var listed []string
	if err == nil && len(dead) > 0 {
		listed, err = c.listed(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	c.tell(err)
	if err != nil {
		clear(c.missing) // nobody knows what was there meanwhile: the period starts anew
		return
	}
	still := make(map[bond.Key]missing, len(c.missing))
	for _, r := range dead {
		if slices.Contains(listed, r.Key.ContainerID) {
			continue // its DEL may still come
		}
		still[r.Key] = c.since(r)
	}
	c.missing = still
	c.releaseAll(ctx, slices.DeleteFunc(dead, func(r *bond.Record) bool {
		m, ok := c.missing[r.Key]
		return !ok || time.Since(m.since) < c.c.Grace
	}))
}

// releasesAtOnce bounds how many bonds are released at the same time.
const releasesAtOnce = 8

// releaseAll releases several bonds at the same time, so that one whose IPAM plugin does not return delays no other for long.
func (c *Collector) releaseAll(ctx context.Context, due []*bond.Record) {
	slots := make(chan struct{}, releasesAtOnce)
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
			delete(c.missing, r.Key)
		}
	}
}

// dead are the records whose netns is gone and which nobody else is about to release: not
// those of a running ADD, and not tombstones, which have been begun.
func (c *Collector) dead(ctx context.Context) ([]*bond.Record, error) {
	records, err := c.c.Records(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for sandboxes that are gone: %w", err)
	}
	var dead []*bond.Record
	for _, r := range records {
		if r.Deleted() || r.Phase == bond.PhaseAdding && time.Since(r.Created) < addPatience {
			continue
		}
		// An error is told with every look at the bond, and proves no end.
		if alive, err := c.c.SandboxAlive(r.Sandbox); err == nil && !alive {
			dead = append(dead, r)
		}
	}
	return dead, nil
}

func (c *Collector) listed(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	ids, err := c.c.Runtime.Sandboxes(ctx)
	if err == nil && len(ids) == 0 {
		err = errEmpty
	}
	return ids, err
}

// since is what is known of a missing sandbox from before, or its beginning.
func (c *Collector) since(r *bond.Record) missing {
	if m, known := c.missing[r.Key]; known && m.sandbox == r.Sandbox {
		return m
	}
	c.logFor(r).Info("sandbox is gone and no DEL came; its bond is released unless that changes", zap.Duration("in", c.c.Grace))
	return missing{sandbox: r.Sandbox, since: time.Now()}
}

// release does what DEL would have done. When it fails after the tombstone was put, the loop goes on
// with it; before that, the next look does.
func (c *Collector) release(ctx context.Context, r *bond.Record) (released bool) {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	if err := c.c.Engine.ReleaseRecord(ctx, r); err != nil {
		c.logFor(r).Error("release of a bond without a sandbox failed", zap.Error(err))
		return false
	}
	c.logFor(r).Warn("released: its sandbox ended without a DEL")
	return true
}

// tell says once why nothing can be known, and once that it can be again.
func (c *Collector) tell(err error) {
	was := c.trouble
	c.trouble = ""
	if err != nil {
		c.trouble = err.Error()
	}
	switch {
	case c.trouble != "" && was == "":
		c.c.Log.Warn("it cannot be seen which sandboxes are gone; none is released until that is mended", zap.Error(err))
	case c.trouble == "" && was != "":
		c.c.Log.Info("no sandbox's end is in doubt any more")
	}
}

func (c *Collector) logFor(r *bond.Record) *zap.Logger {
	return c.c.Log.With(zap.String("bond", r.Key.String()), zap.String("pod", r.Pod.String()), zap.String("netns", r.Sandbox.Path))
}
