package watch

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// resyncs waits for one or two resyncs, and drops what was enqueued twice.
func (r *watcherFixture) resyncs() {
	r.pass(time.Minute + time.Second)
	seen := map[enqueued]bool{}
	r.out = slices.DeleteFunc(r.out, func(o enqueued) bool {
		o.at = 0
		again := seen[o]
		seen[o] = true
		return again
	})
}

// TestRecordWatcherWithoutDir: while the directory cannot be watched (a node's inotify instances are used up, for
// example), each resync lists the records. Otherwise the bond of a new pod would get no events for a quarter of an hour.
// The cause is not that of resyncs, which a bond at rest leaves out: its record may have changed.
func TestRecordWatcherWithoutDir(t *testing.T) {
	runWatcher(t, func(r *watcherFixture) { r.dirErr = unix.EMFILE }, func(r *watcherFixture) {
		r.take()
		r.records = append(r.records, watched("c", 3))
		r.resyncs()
		r.expect(t, "within a minute", "a: records listed again, b: records listed again, c: records listed again")
		if id, known := r.monitor.index.Load().ids[watched("c", 3).Sandbox]; !known || id != 3 {
			t.Errorf("the new pod's netns ID is %d, known: %t", id, known)
		}
	})
}

// TestResyncWithoutSocket: while there is no socket, nothing else reports what happens to a bond at rest.
func TestResyncWithoutSocket(t *testing.T) {
	runWatcher(t, nil, func(r *watcherFixture) {
		r.take()
		r.monitor.overruns.Add(1) // and no socket can be opened
		r.resyncs()
		r.expect(t, "within a minute", "a: overrun, b: overrun")
		r.monitor.reopens.Add(1)
		r.take()
		r.resyncs()
		r.expect(t, "with a new socket", "a: resync, b: resync")
	})
}
