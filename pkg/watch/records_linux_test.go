package watch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fsnotify/fsnotify"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestRecords: a record that is added, changed or removed is enqueued, and nothing else in the directory is.
func TestRecords(t *testing.T) {
	r, sink := newRecords(t), newSink()
	r.put(t, watched("early", 2))
	start(t, r, sink)
	w := watched("late", 1)
	r.put(t, w)
	if g := sink.next(t); g.key != w.Key || g.cause != CauseRecord {
		t.Errorf("new: %v", g)
	}
	// The recordWatcher may enqueue one write twice: it can list a record before its event.
	sink.drain()
	for _, name := range []string{"lock", ".late.json.tmp", "no key.json"} {
		kit.Must(t, os.WriteFile(filepath.Join(r.dir, name), nil, 0o600))
	}
	r.put(t, w)
	if g := sink.next(t); g.key != w.Key || g.cause != CauseRecord {
		t.Errorf("changed: %v", g)
	}
	sink.drain()
	r.remove(t, w.Key)
	if g := sink.next(t); g.key != w.Key || g.cause != CauseRecord {
		t.Errorf("removed: %v", g)
	}
}

// TestRecordsOverflow: if more changes happen than the kernel queues, all records are listed.
func TestRecordsOverflow(t *testing.T) {
	r, sink := newRecords(t), newSink()
	known, unseen := watched("known", 1), watched("unseen", 2)
	r.put(t, known)
	var overflows atomic.Int32
	start(t, r, sink, func(h *Monitor) {
		h.cfg.OnError = func(err error) {
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				overflows.Add(1)
			}
		}
	})
	listing, hold := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	r.mu.Lock()
	r.onList = func() {
		if once.CompareAndSwap(false, true) {
			close(listing)
			<-hold
		}
	}
	r.mu.Unlock()
	r.put(t, known)
	<-listing
	flood(t, r.dir)
	r.mu.Lock()
	r.all = append(r.all, unseen)
	r.mu.Unlock()
	close(hold)
	sink.until(t, unseen.Key, CauseRelist)
	sink.drain()
	if overflows.Load() == 0 {
		t.Error("the overflow was not reported: the test is of no use")
	}
	r.put(t, known)
	sink.until(t, known.Key, CauseRecord)
}

// flood causes more events in dir than inotify queues and fsnotify buffers.
func flood(t *testing.T, dir string) {
	t.Helper()
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	kit.Must(t, err)
	if strings.TrimSpace(string(limit)) != "16384" {
		t.Logf("max_queued_events is %s", limit)
	}
	var files [2]*os.File
	for i := range files {
		if files[i], err = os.CreateTemp(dir, "noise"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = files[i].Close() }()
	}
	for i := range 30000 { // alternating: the kernel merges equal events
		kit.Must(t, files[i%2].Chmod(0o600))
	}
}

// TestDirComesBack: the directory is removed and recreated, as in a manual clean-up of a node.
func TestDirComesBack(t *testing.T) {
	r, sink := newRecords(t), newSink()
	known := watched("known", 1)
	r.dir = filepath.Join(r.dir, "bondkeeper")
	kit.Must(t, os.Mkdir(r.dir, 0o700))
	r.put(t, known)
	start(t, r, sink)
	// One by one: a key that has changed before all are listed is enqueued once, with its own cause.
	kit.Must(t, os.Remove(filepath.Join(r.dir, known.Key.String()+".json")))
	sink.until(t, known.Key, CauseRecord)
	kit.Must(t, os.Remove(r.dir))
	sink.until(t, known.Key, CauseRelist)
	kit.Must(t, os.Mkdir(r.dir, 0o700))
	sink.until(t, known.Key, CauseRelist)
	r.put(t, known)
	sink.until(t, known.Key, CauseRecord)
}
