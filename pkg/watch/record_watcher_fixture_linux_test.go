package watch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// watcherFixture is a recordWatcher in virtual time (testing/synctest). The test holds the mutex except while the
// recordWatcher works.
type watcherFixture struct {
	sync.Mutex
	monitor  *Monitor
	records  []*bond.Record
	listErr  error
	listTime time.Duration
	dirErr   error
	assigned map[bond.Sandbox]error
	nsidErr  error
	queried  []string // the sandboxes whose ID was read
	dirs     []*fakeDir
	// What the recordWatcher did, each with the time since the start.
	began    time.Time
	lists    []time.Duration
	out      []enqueued
	problems []string
}

type enqueued struct {
	at    time.Duration
	key   string
	cause string
}

type fakeDir struct {
	events chan fsnotify.Event
	errors chan error
	closed atomic.Bool
}

func (d *fakeDir) stop() error {
	d.closed.Store(true)
	return nil
}

func (r *watcherFixture) Enqueue(key bond.Key, cause string) {
	r.Lock()
	defer r.Unlock()
	r.out = append(r.out, enqueued{time.Since(r.began), key.ContainerID, cause})
}

func (r *watcherFixture) close() {}

func (r *watcherFixture) self() (int32, error) {
	r.Lock()
	defer r.Unlock()
	return noNSID, r.nsidErr
}

func (r *watcherFixture) assign(s bond.Sandbox) (int32, error) {
	r.Lock()
	defer r.Unlock()
	r.queried = append(r.queried, s.Path)
	if err := r.assigned[s]; err != nil {
		return noNSID, err
	}
	return int32(s.Inode), nil
}

// vfs returns one member per pair of the PCI addresses of a PF and a VF.
func vfs(pairs ...string) []bond.Member {
	var all []bond.Member
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, bond.Member{PCI: bond.PCIAddress(pairs[i+1]), VF: &bond.VF{PF: bond.PCIAddress(pairs[i])}})
	}
	return all
}

// watched returns a record with a sandbox of its own.
func watched(id string, inode uint64) *bond.Record {
	return &bond.Record{Key: bond.Key{ContainerID: id, IfName: "bond0"}, Sandbox: bond.Sandbox{Path: "/run/netns/" + id, Inode: inode}}
}

// runWatcher runs test beside a recordWatcher. Time passes while test waits. When test begins, the start is complete.
func runWatcher(t *testing.T, prepare func(*watcherFixture), test func(*watcherFixture)) {
	synctest.Test(t, func(t *testing.T) {
		r := &watcherFixture{records: []*bond.Record{watched("a", 1), watched("b", 2)}, assigned: map[bond.Sandbox]error{}, began: time.Now()}
		var err error
		r.monitor, err = New(Config{
			Dir: "/run/bondkeeper", Resync: 45 * time.Second,
			KeyOf: func(file string) (bond.Key, bool) {
				return bond.Key{ContainerID: file, IfName: "bond0"}, !strings.HasSuffix(file, ".tmp")
			},
			List: func() ([]*bond.Record, error) {
				r.Lock()
				took := r.listTime
				r.Unlock()
				time.Sleep(took) //nolint:forbidigo // virtual time, which passes only while no goroutine waits for a mutex
				r.Lock()
				defer r.Unlock()
				r.lists = append(r.lists, time.Since(r.began))
				return slices.Clone(r.records), r.listErr
			},
			OnError: func(err error) {
				r.Lock()
				defer r.Unlock()
				r.problems = append(r.problems, err.Error())
			},
		})
		kit.Must(t, err)
		r.monitor.openNSIDs = func() (nsids, error) { return r, nil }
		r.monitor.openDir = func(string) (*dirWatch, error) {
			r.Lock()
			defer r.Unlock()
			if r.dirErr != nil {
				return nil, r.dirErr
			}
			d := &fakeDir{events: make(chan fsnotify.Event), errors: make(chan error)}
			r.dirs = append(r.dirs, d)
			return &dirWatch{events: d.events, errors: d.errors, stop: d.stop}, nil
		}
		if prepare != nil {
			prepare(r)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go newRecordWatcher(r.monitor, r).run(ctx)
		synctest.Wait()
		r.Lock()
		test(r)
		r.Unlock()
		cancel()
	})
}

// pass waits for d.
func (r *watcherFixture) pass(d time.Duration) {
	r.Unlock()
	defer r.Lock()
	time.Sleep(d) //nolint:forbidigo // virtual time
	synctest.Wait()
}

// event causes the event of f.
func (r *watcherFixture) event(f func(*fakeDir)) {
	d := r.dirs[len(r.dirs)-1]
	r.Unlock()
	defer r.Lock()
	f(d)
	synctest.Wait()
}

func (r *watcherFixture) changed(file string) {
	r.event(func(d *fakeDir) {
		d.events <- fsnotify.Event{Name: "/run/bondkeeper/" + file, Op: fsnotify.Create}
	})
}

// take returns what was enqueued since the last call, in the order of the keys.
func (r *watcherFixture) take() string {
	slices.SortFunc(r.out, func(a, b enqueued) int { return strings.Compare(a.key, b.key) })
	var s []string
	for _, o := range r.out {
		s = append(s, fmt.Sprintf("%s: %s", o.key, o.cause))
	}
	r.out = nil
	return strings.Join(s, ", ")
}

func (r *watcherFixture) expect(t *testing.T, what, want string) {
	t.Helper()
	if got := r.take(); got != want {
		t.Errorf("%s: enqueued %q, want %q", what, got, want)
	}
}
