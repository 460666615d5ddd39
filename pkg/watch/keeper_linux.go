package watch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// The first change acts at once; those that follow within mergePeriod of a listing share the
// next, or within mergeFactor times what the listing took: with many records a storm of repairs, each
// of which writes one, must not end in listing all the time. Handing out every key is dearer and waits
// for relistPeriod. A pod can make the socket overrun on purpose; then the period doubles up to maxRelistPeriod, so that
// the looks at all bonds cost little, and is short again after calmPeriod without an overrun.
const (
	mergePeriod  = 20 * time.Millisecond
	mergeFactor  = 3
	relistPeriod = 250 * time.Millisecond

	maxRelistPeriod = 10 * time.Second
	calmPeriod      = time.Minute
)

var errWatchEnded = errors.New("the watch ended")

// keeper keeps the index true to the records and hands out the keys of records that changed,
// and of all of them when something may have been missed. It belongs to one goroutine.
type keeper struct {
	hub  *Hub
	sink Sink
	dir  *dirWatch // nil while the directory cannot be watched
	// changed are the records to hand out after the next listing, with the cause; all is the cause to
	// hand out every key with, empty for none.
	changed map[bond.Key]string
	all     string
	// resyncAt and verifyAt are when to list without a change; verifyAt is zero for no need.
	resyncAt, verifyAt time.Time
	// Before these times the records are not listed, not all keys handed out, the directory not tried.
	listAt, allAt, dirAt time.Time
	failing              bool // List failed the last time
	// overran is when the socket overran the last time, reported the number of overruns that were reported, and
	// pause what follows the next look at all bonds.
	overran  time.Time
	reported uint64
	pause    time.Duration
}

func newKeeper(h *Hub, sink Sink) *keeper {
	return &keeper{hub: h, sink: sink, changed: map[bond.Key]string{}, all: CauseStart, pause: relistPeriod}
}

// run works until ctx ends.
func (k *keeper) run(ctx context.Context) {
	k.resyncAt = time.Now().Add(k.jittered())
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer func() { k.dir.close() }()
	for ctx.Err() == nil {
		k.work(time.Now())
		timer.Reset(time.Until(k.due()))
		events, errs := k.dir.channels()
		select {
		case <-ctx.Done():
		case <-timer.C:
		case cause := <-k.hub.relist:
			k.overrun(cause, time.Now())
		case <-k.hub.verify:
			k.verifyAt = time.Now()
		case e, open := <-events:
			k.fileEvent(e, open)
		case err, open := <-errs:
			if !open {
				err = errWatchEnded
			}
			k.dirFailed(err)
		}
	}
}

// due is when work has something to do.
func (k *keeper) due() time.Time {
	at := k.resyncAt
	if k.dir == nil {
		at = earlier(at, k.dirAt)
	}
	if len(k.changed) > 0 {
		at = earlier(at, k.listAt)
	}
	if k.all != "" {
		at = earlier(at, later(k.listAt, k.allAt))
	}
	if !k.verifyAt.IsZero() {
		at = earlier(at, later(k.listAt, k.verifyAt))
	}
	return at
}

// work does what is due now. The directory comes first: what changes after it is watched
// is heard, what changed before is listed.
func (k *keeper) work(now time.Time) {
	if k.dir == nil && !now.Before(k.dirAt) {
		k.watchDir(now)
	}
	if !now.Before(k.resyncAt) {
		k.resyncAt = now.Add(k.jittered())
		k.hub.resyncs.Add(1)
		if k.all == "" {
			k.all = CauseResync
		}
		k.allAt = now
	}
	all := k.all != "" && !now.Before(k.allAt)
	verify := !k.verifyAt.IsZero() && !now.Before(k.verifyAt)
	if (len(k.changed) > 0 || all || verify) && !now.Before(k.listAt) {
		k.list(all)
	}
}

// list brings the index up to date and hands out keys, in this order: a sandbox has its ID
// before its key is out. When the records cannot be listed, all of it waits for the next try.
func (k *keeper) list(all bool) {
	began := time.Now()
	watched, err := k.hub.cfg.List()
	if err != nil {
		if !k.failing {
			k.hub.cfg.Problem(fmt.Errorf("watch: no bond is looked at until the records in %s can be listed: %w", k.hub.cfg.Dir, err))
		}
		k.failing = true
		k.listAt = time.Now().Add(retryPeriod)
		return
	}
	k.failing = false
	k.hub.relists.Add(1)
	before := k.hub.index.Load()
	now := k.subscribe(watched, before)
	k.hub.index.Store(now)
	k.listAt = time.Now().Add(max(mergePeriod, mergeFactor*time.Since(began)))
	k.handOut(before, now, all)
	k.verifyAt = time.Time{}
	if len(now.deaf) > 0 {
		k.verifyAt = time.Now().Add(retryPeriod)
	}
}

// handOut empties what is pending. Keys that were known before and are no longer count among all: a
// record that went away is news, too.
func (k *keeper) handOut(before, now *index, all bool) {
	for key, cause := range k.changed {
		k.sink.Enqueue(key, cause)
	}
	if all {
		for _, keys := range [][]bond.Key{now.keys, before.keys} {
			for _, key := range keys {
				if _, told := k.changed[key]; !told {
					k.changed[key] = k.all
					k.sink.Enqueue(key, k.all)
				}
			}
		}
		k.all = ""
		k.allAt = time.Now().Add(k.pause)
		k.reportLosses()
	}
	clear(k.changed)
}

// overrun notes that events were lost. Every bond is looked at as soon as the pause since the last time is over.
func (k *keeper) overrun(cause string, now time.Time) {
	if now.Sub(k.overran) > calmPeriod {
		k.pause = relistPeriod
	}
	k.all, k.overran = cause, now
}

// reportLosses reports all overruns since the last time as one, and lengthens the pause until the next.
func (k *keeper) reportLosses() {
	total, last := k.hub.overruns.Load(), k.hub.loss.Load()
	if total == k.reported || last == nil {
		return
	}
	k.hub.cfg.Problem(fmt.Errorf("watch: events were lost (overruns: %d), every bond is looked at again: %w", total-k.reported, last.err))
	k.reported = total
	k.pause = min(2*k.pause, maxRelistPeriod)
}

// subscribe makes the index, and sees to it that each living sandbox has an ID. The keys of a
// sandbox that could not be given one until now are due: its events went unheard.
func (k *keeper) subscribe(watched []Watched, before *index) *index {
	self := noNSID
	ids, cannot := k.hub.openNSIDs()
	if cannot == nil {
		defer ids.close()
		self, cannot = ids.self()
	}
	idx := newIndex(watched, self, func(s bond.Sandbox) (int32, error) {
		id, err := noNSID, cannot
		if err == nil {
			id, err = ids.assign(s)
		}
		if errors.Is(err, netns.ErrGone) {
			return noNSID, nil
		}
		if err != nil && !before.deaf[s] {
			k.hub.cfg.Problem(fmt.Errorf("watch: no events from the sandbox at %s for now, only resyncs: %w", s.Path, err))
		}
		return id, err
	})
	for i := range watched {
		if w := &watched[i]; before.deaf[w.Sandbox] && !idx.deaf[w.Sandbox] {
			k.changed[w.Key] = CauseRelist
		}
	}
	return idx
}

func (k *keeper) fileEvent(e fsnotify.Event, open bool) {
	switch {
	case !open:
		k.dirFailed(errWatchEnded)
	case filepath.Clean(e.Name) == filepath.Clean(k.hub.cfg.Dir):
		if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
			k.dirFailed(errors.New("the directory was removed or renamed"))
		}
	default:
		if key, ok := k.hub.cfg.KeyOf(filepath.Base(e.Name)); ok {
			k.changed[key] = CauseRecord
		}
	}
}

// dirFailed starts the watch over, after which everything is listed: after an error nobody
// knows what was missed.
func (k *keeper) dirFailed(err error) {
	k.hub.cfg.Problem(fmt.Errorf("watch: changes in %s may have been missed, everything is looked at again: %w", k.hub.cfg.Dir, err))
	k.dir.close()
	k.dir, k.dirAt, k.all = nil, time.Time{}, CauseRelist
	k.allAt = earlier(k.allAt, time.Now().Add(relistPeriod)) // no overrun, so it does not wait for their pause
}

// watchDir tries to watch the directory; what was written to it unwatched is listed.
func (k *keeper) watchDir(now time.Time) {
	dir, err := k.hub.openDir(k.hub.cfg.Dir)
	if err != nil {
		if k.dirAt.IsZero() {
			k.hub.cfg.Problem(fmt.Errorf("watch: changes in %s are not seen until it can be watched: %w", k.hub.cfg.Dir, err))
		}
		k.dirAt = now.Add(retryPeriod)
		return
	}
	k.dir = dir
	if k.all == "" {
		k.all = CauseRelist
	}
}

// jittered is the resync period, up to a third shorter or longer.
func (k *keeper) jittered() time.Duration {
	third := int64(k.hub.cfg.Resync) / 3
	return k.hub.cfg.Resync - time.Duration(third) + time.Duration(rand.Int64N(2*third+1))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
