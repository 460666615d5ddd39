package watch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// testTimeout is how long a test waits for an event. Inotify queues 16,384 events, which take a while on a busy
// machine.
const testTimeout = time.Minute

// given is one call of Enqueue.
type given struct {
	key   bond.Key
	cause string
}

// fakeSink records the calls of Enqueue, in order.
type fakeSink struct {
	got chan given
	// before, if set, is called first in Enqueue. It may make the caller wait.
	before func(given)
}

func newSink() *fakeSink { return &fakeSink{got: make(chan given, 1<<16)} }

func (s *fakeSink) Enqueue(key bond.Key, cause string) {
	if s.before != nil {
		s.before(given{key, cause})
	}
	s.got <- given{key, cause}
}

// next returns the next call.
func (s *fakeSink) next(t *testing.T) given {
	t.Helper()
	select {
	case g := <-s.got:
		return g
	case <-time.After(testTimeout):
		t.Fatal("nothing was enqueued")
		return given{}
	}
}

// until removes the calls up to the first one with this key and this prefix of a cause, and returns those before it.
func (s *fakeSink) until(t *testing.T, key bond.Key, cause string) []given {
	t.Helper()
	var before []given
	timeout := time.After(testTimeout)
	for {
		select {
		case g := <-s.got:
			if g.key == key && strings.HasPrefix(g.cause, cause) {
				return before
			}
			before = append(before, g)
		case <-timeout:
			t.Fatalf("%s was not enqueued for %q; enqueued: %v", key, cause, before)
		}
	}
}

// drain removes the calls for later events of a change, such as carrier and link-local addresses.
func (s *fakeSink) drain() { s.drainFor(200 * time.Millisecond) }

// drainFor returns when nothing was enqueued for that long.
func (s *fakeSink) drainFor(quiet time.Duration) {
	for {
		select {
		case <-s.got:
		case <-time.After(quiet):
			return
		}
	}
}

// records is a directory of records: empty files, and the record of each.
type records struct {
	dir string
	mu  sync.Mutex
	all []*bond.Record
	err error
	// onList, if set, is called by each listing.
	onList func()
}

func newRecords(t testing.TB) *records { return &records{dir: t.TempDir()} }

func (r *records) list() ([]*bond.Record, error) {
	r.mu.Lock()
	onList := r.onList
	r.mu.Unlock()
	if onList != nil {
		onList()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all), r.err
}

// put writes a record as the store does, first under another name.
func (r *records) put(t testing.TB, w *bond.Record) {
	t.Helper()
	r.mu.Lock()
	r.all = append(slices.DeleteFunc(r.all, func(o *bond.Record) bool { return o.Key == w.Key }), w)
	r.mu.Unlock()
	name := filepath.Join(r.dir, w.Key.String()+".json")
	kit.Must(t, errors.Join(os.WriteFile(name+".tmp1", nil, 0o600), os.Rename(name+".tmp1", name)))
}

func (r *records) remove(t testing.TB, key bond.Key) {
	t.Helper()
	r.mu.Lock()
	r.all = slices.DeleteFunc(r.all, func(o *bond.Record) bool { return o.Key == key })
	r.mu.Unlock()
	kit.Must(t, os.Remove(filepath.Join(r.dir, key.String()+".json")))
}

func (r *records) config(t testing.TB) Config {
	return Config{
		Dir: r.dir,
		KeyOf: func(file string) (bond.Key, bool) {
			name, ok := strings.CutSuffix(file, ".json")
			key, err := bond.ParseKey(name)
			return key, ok && err == nil
		},
		List: r.list,
		// Long enough that a test has no resync that it did not request.
		Resync:  time.Hour,
		OnError: func(err error) { t.Log(err) },
	}
}

// runMonitor runs a monitor until stop is called.
func runMonitor(t *testing.T, h *Monitor, sink *fakeSink) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx, sink) }()
	return func() {
		t.Helper()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(testTimeout):
			t.Error("Run did not return when its context ended")
		}
	}
}

// start runs a Monitor until the test ends, and returns when it has enqueued all records. Without records, Run may not
// have begun.
func start(t *testing.T, r *records, sink *fakeSink, change ...func(*Monitor)) *Monitor {
	t.Helper()
	h, err := New(r.config(t))
	kit.Must(t, err)
	for _, f := range change {
		f(h)
	}
	t.Cleanup(runMonitor(t, h, sink))
	for range len(r.all) {
		if g := sink.next(t); g.cause != CauseStart {
			t.Fatalf("enqueued %v before the start was", g)
		}
	}
	return h
}

// sandbox makes a netns as a container runtime does.
func sandbox(t testing.TB) bond.Sandbox {
	t.Helper()
	s, err := netns.SandboxAt(netnstest.New(t))
	kit.Must(t, err)
	return s
}

// in runs f in the sandbox. Handles made by f, such as those of netlink's functions, belong to that netns.
func in(t testing.TB, s bond.Sandbox, f func() error) {
	t.Helper()
	ns, err := netns.Open(s.Path)
	kit.Must(t, err)
	defer func() { _ = ns.Close() }()
	kit.Must(t, ns.Do(f))
}

// pod is a record and its sandbox, which has a veth pair a–b, both up, a with 192.0.2.1/24 and 2001:db8::1/64.
func pod(t testing.TB, id string) *bond.Record {
	t.Helper()
	w := &bond.Record{Key: bond.Key{ContainerID: id, IfName: "bond0"}, Sandbox: sandbox(t)}
	in(t, w.Sandbox, func() error {
		return errors.Join(addVeth("a", "b"), setUpLink("a"), setUpLink("b"),
			addAddress("a", "192.0.2.1/24"), addAddress("a", "2001:db8::1/64"))
	})
	return w
}

func addVeth(name, peer string) error {
	return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer})
}

func link(name string) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: name}}
}

func setUpLink(name string) error { return netlink.LinkSetUp(link(name)) }

func addAddress(name, cidr string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	addr.Flags = 0x02 // IFA_F_NODAD: usable at once, without packets
	return netlink.AddrAdd(l, addr)
}

// mark causes an event in the pod that concerns its bond. As events are read in order, the keys of all earlier events
// are enqueued before the key of this one.
func mark(t testing.TB, w *bond.Record) {
	t.Helper()
	in(t, w.Sandbox, func() error {
		l, err := netlink.LinkByName("b")
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(l, l.Attrs().MTU-1)
	})
}
