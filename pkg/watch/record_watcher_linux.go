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

// The first change is handled at once. Those that follow within mergePeriod of a listing share the next one, as do
// those within mergeFactor times the duration of a listing: in a storm of repairs, each of which writes a record, the
// records must not be listed all the time. To enqueue every key costs more and waits for relistPeriod. A pod can
// overrun the socket on purpose; then the period doubles up to maxRelistPeriod, and is reset after calmPeriod without
// an overrun.
const (
	mergePeriod  = 20 * time.Millisecond
	mergeFactor  = 3
	relistPeriod = 250 * time.Millisecond
	// relistResyncs is the number of resyncs for each of which keys are enqueued, and for one of which records are listed.
	relistResyncs = 20

	maxRelistPeriod = 10 * time.Second
	calmPeriod      = time.Minute
)

var errWatchEnded = errors.New("the watch ended")

// recordWatcher owns the index. It enqueues the keys of records that changed, and all keys if events may have been
// missed. It is used by one goroutine.
type recordWatcher struct {
	monitor *Monitor
	sink    Sink
	dir     *dirWatch // nil while the directory cannot be watched
	// changed are the keys to enqueue after the next listing, with the cause. allCause is the cause to enqueue every
	// key with, or empty.
	changed  map[bond.Key]string
	allCause string
	// resyncAt and verifyAt are when to list without a change; verifyAt is zero if no check is needed.
	resyncAt, verifyAt time.Time
	// Not before these times the records are listed, all keys are enqueued, and the directory is tried again.
	listAt, allAt, dirAt time.Time
	listFailed           bool // the last time
	// overran is the time of the last overrun, reported the number of overruns that were reported, and pause the time
	// between two enqueues of all keys.
	overran  time.Time
	reported uint64
	pause    time.Duration
}

func newRecordWatcher(m *Monitor, sink Sink) *recordWatcher {
	return &recordWatcher{monitor: m, sink: sink, changed: map[bond.Key]string{}, allCause: CauseStart, pause: relistPeriod}
}

// run works until ctx ends.
func (w *recordWatcher) run(ctx context.Context) {
	w.resyncAt = time.Now().Add(w.jittered())
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer func() { w.dir.close() }()
	for ctx.Err() == nil {
		w.work(time.Now())
		timer.Reset(time.Until(w.nextWork()))
		events, errs := w.dir.channels()
		select {
		case <-ctx.Done():
		case <-timer.C:
		case cause := <-w.monitor.relist:
			w.overrun(cause, time.Now())
		case <-w.monitor.verify:
			w.verifyAt = time.Now()
		case e, open := <-events:
			w.fileEvent(e, open)
		case err, open := <-errs:
			if !open {
				err = errWatchEnded
			}
			w.dirFailed(err)
		}
	}
}

// nextWork returns when work has something to do.
func (w *recordWatcher) nextWork() time.Time {
	at := w.resyncAt
	if w.dir == nil {
		at = earlier(at, w.dirAt)
	}
	if len(w.changed) > 0 {
		at = earlier(at, w.listAt)
	}
	if w.allCause != "" {
		at = earlier(at, later(w.listAt, w.allAt))
	}
	if !w.verifyAt.IsZero() {
		at = earlier(at, later(w.listAt, w.verifyAt))
	}
	return at
}

// work does what is due now. It watches the directory first, so that changes after that cause events, and changes
// before it are listed.
func (w *recordWatcher) work(now time.Time) {
	if w.dir == nil && !now.Before(w.dirAt) {
		w.watchDir(now)
	}
	if !now.Before(w.resyncAt) {
		w.resync(now)
	}
	all := w.allCause != "" && !now.Before(w.allAt)
	verify := !w.verifyAt.IsZero() && !now.Before(w.verifyAt)
	if len(w.changed) > 0 && !all && !verify && !now.Before(w.listAt) {
		w.dropUnchanged()
	}
	if (len(w.changed) > 0 || all || verify) && !now.Before(w.listAt) {
		w.list(all, verify)
	}
}

// resync enqueues every key. Of relistResyncs resyncs one also lists the records and reads all IDs: files and sandboxes
// cause events, too. While the directory cannot be watched each does, so that new records are found.
func (w *recordWatcher) resync(now time.Time) {
	w.resyncAt = now.Add(w.jittered())
	cause := w.resyncCause()
	if w.monitor.resyncs.Add(1)%relistResyncs == 0 || w.dir == nil {
		if w.allCause == "" {
			w.allCause = cause
		}
		w.allAt = now
		return
	}
	for _, key := range w.monitor.index.Load().keys {
		w.sink.Enqueue(key, cause)
	}
}

// resyncCause returns another cause than CauseResync, which the sink may ignore, while changes have no events.
func (w *recordWatcher) resyncCause() string {
	switch {
	case w.dir == nil:
		return CauseRelist
	case w.monitor.overruns.Load() != w.monitor.reopens.Load(): // there is no socket
		return CauseOverrun
	}
	return CauseResync
}

// list updates the index, then enqueues keys: a sandbox has its ID before its key is enqueued. With all or verify the
// IDs of all sandboxes are read again. If the records cannot be listed everything waits for the next attempt.
func (w *recordWatcher) list(all, verify bool) {
	began := time.Now()
	records, err := w.monitor.cfg.List()
	if err != nil {
		if !w.listFailed {
			w.monitor.cfg.OnError(fmt.Errorf("watch: cannot list the records in %s; no bond is reconciled until then: %w", w.monitor.cfg.Dir, err))
		}
		w.listFailed = true
		w.listAt = time.Now().Add(retryPeriod)
		return
	}
	w.listFailed = false
	w.monitor.relists.Add(1)
	before := w.monitor.index.Load()
	now := w.subscribe(records, before, all || verify)
	w.monitor.index.Store(now)
	w.listAt = time.Now().Add(max(mergePeriod, mergeFactor*time.Since(began)))
	w.dropKnown(records)
	w.enqueuePending(before, now, all)
	w.verifyAt = time.Time{}
	if len(now.unsubscribed) > 0 {
		w.verifyAt = time.Now().Add(retryPeriod)
	}
}

// dropUnchanged forgets changes that the sink itself made and that do not change the index. A repair saves its record
// several times, and a listing takes longer than all its requests.
func (w *recordWatcher) dropUnchanged() {
	for key, cause := range w.changed {
		if cause != CauseRecord {
			continue
		}
		if r, err := w.monitor.cfg.Load(key); err == nil && w.monitor.cfg.Known(r) && w.monitor.index.Load().covers(r) {
			delete(w.changed, key)
		}
	}
	if len(w.changed) == 0 {
		w.listAt = time.Now().Add(mergePeriod)
	}
}

// dropKnown forgets changes that the sink itself made.
func (w *recordWatcher) dropKnown(records []*bond.Record) {
	for _, r := range records {
		if w.changed[r.Key] == CauseRecord && w.monitor.cfg.Known(r) {
			delete(w.changed, r.Key)
		}
	}
}

// enqueuePending enqueues the changed keys, and with all every key. Keys that were in the previous index count as well:
// a record that is gone is a change.
func (w *recordWatcher) enqueuePending(before, now *index, all bool) {
	for key, cause := range w.changed {
		w.sink.Enqueue(key, cause)
	}
	if all {
		for _, keys := range [][]bond.Key{now.keys, before.keys} {
			for _, key := range keys {
				if _, enqueued := w.changed[key]; !enqueued {
					w.changed[key] = w.allCause
					w.sink.Enqueue(key, w.allCause)
				}
			}
		}
		w.allCause = ""
		w.allAt = time.Now().Add(w.pause)
		w.reportOverruns()
	}
	clear(w.changed)
}

// overrun is called after events were lost. Every bond is reconciled when the pause since the last time is over.
func (w *recordWatcher) overrun(cause string, now time.Time) {
	if now.Sub(w.overran) > calmPeriod {
		w.pause = relistPeriod
	}
	w.allCause, w.overran = cause, now
}

// reportOverruns reports all overruns since the last time as one, and lengthens the pause until the next.
func (w *recordWatcher) reportOverruns() {
	total, last := w.monitor.overruns.Load(), w.monitor.lastOverrun.Load()
	if total == w.reported || last == nil {
		return
	}
	w.monitor.cfg.OnError(fmt.Errorf("watch: events were lost (overruns: %d), every bond is reconciled: %w", total-w.reported, last.err))
	w.reported = total
	w.pause = min(2*w.pause, maxRelistPeriod)
}

// subscribe makes the index, and gives each living sandbox an ID. Without afresh the ID of a sandbox that had one before
// is not read again: it ends with its netns, which the kernel reports. Keys of a sandbox that could not be given one
// until now are enqueued: its events were not received.
func (w *recordWatcher) subscribe(records []*bond.Record, before *index, afresh bool) *index {
	self := noNSID
	ids, idsErr := w.monitor.openNSIDs()
	if idsErr == nil {
		defer ids.close()
		self, idsErr = ids.self()
	}
	idx := newIndex(records, self, func(s bond.Sandbox) (int32, error) {
		if id, known := before.ids[s]; known && id != noNSID && !afresh {
			return id, nil
		}
		id, err := noNSID, idsErr
		if err == nil {
			id, err = ids.assign(s)
		}
		if errors.Is(err, netns.ErrGone) {
			return noNSID, nil
		}
		if err != nil && !before.unsubscribed[s] {
			w.monitor.cfg.OnError(fmt.Errorf("watch: no events from the sandbox at %s for now, only resyncs: %w", s.Path, err))
		}
		return id, err
	})
	for _, r := range records {
		if before.unsubscribed[r.Sandbox] && !idx.unsubscribed[r.Sandbox] {
			w.changed[r.Key] = CauseRelist
		}
	}
	return idx
}

func (w *recordWatcher) fileEvent(e fsnotify.Event, open bool) {
	switch {
	case !open:
		w.dirFailed(errWatchEnded)
	case filepath.Clean(e.Name) == filepath.Clean(w.monitor.cfg.Dir):
		if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
			w.dirFailed(errors.New("the directory was removed or renamed"))
		}
	default:
		if key, ok := w.monitor.cfg.KeyOf(filepath.Base(e.Name)); ok {
			w.changed[key] = CauseRecord
		}
	}
}

// dirFailed starts a new watch and lists everything: changes may have been missed.
func (w *recordWatcher) dirFailed(err error) {
	w.monitor.cfg.OnError(fmt.Errorf("watch: changes in %s may have been missed, every bond is reconciled: %w", w.monitor.cfg.Dir, err))
	w.dir.close()
	w.dir, w.dirAt, w.allCause = nil, time.Time{}, CauseRelist
	w.allAt = earlier(w.allAt, time.Now().Add(relistPeriod)) // no overrun, so it does not wait for their pause
}

// watchDir tries to watch the directory. What was written before that is listed.
func (w *recordWatcher) watchDir(now time.Time) {
	dir, err := w.monitor.openDir(w.monitor.cfg.Dir)
	if err != nil {
		if w.dirAt.IsZero() {
			w.monitor.cfg.OnError(fmt.Errorf("watch: cannot watch %s; changed records are found at the next resync: %w", w.monitor.cfg.Dir, err))
		}
		w.dirAt = now.Add(retryPeriod)
		return
	}
	w.dir = dir
	if w.allCause == "" {
		w.allCause = CauseRelist
	}
}

// jittered returns the resync period, up to a third shorter or longer.
func (w *recordWatcher) jittered() time.Duration {
	third := int64(w.monitor.cfg.Resync) / 3
	return w.monitor.cfg.Resync - time.Duration(third) + time.Duration(rand.Int64N(2*third+1))
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
