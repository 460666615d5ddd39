package watch

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func route(dst, via string) *netlink.Route {
	_, n, err := net.ParseCIDR(dst)
	if err != nil {
		panic(err)
	}
	return &netlink.Route{Dst: n, Gw: net.ParseIP(via)}
}

// TestPodEvents: changes that can harm a bond cause a key, additions do not.
func TestPodEvents(t *testing.T) {
	w := pod(t, "pod")
	r, sink := newRecords(t), newSink()
	r.put(t, w)
	start(t, r, sink)
	steps := []struct {
		name  string
		cause string // empty for no key
		do    func() error
	}{
		{"link appears", "link changed", func() error { return addVeth("c", "d") }},
		{"link is renamed", "link changed", func() error { return netlink.LinkSetName(link("c"), "e") }},
		{"link goes down", "link changed", func() error { return netlink.LinkSetDown(link("b")) }},
		{"link goes up", "link changed", func() error { return setUpLink("b") }},
		{"link is deleted", "link removed", func() error { return netlink.LinkDel(link("e")) }},
		{"address is added", "", func() error { return addAddress("a", "198.51.100.1/24") }},
		{"address is removed", "address removed", func() error {
			l, err := netlink.LinkByName("a")
			addr, _ := netlink.ParseAddr("198.51.100.1/24")
			return errors.Join(err, netlink.AddrDel(l, addr))
		}},
		{"IPv6 address is added", "", func() error { return addAddress("a", "2001:db8:1::1/64") }},
		{"IPv6 address is removed", "address removed", func() error {
			l, err := netlink.LinkByName("a")
			addr, _ := netlink.ParseAddr("2001:db8:1::1/64")
			return errors.Join(err, netlink.AddrDel(l, addr))
		}},
		{"route is added", "", func() error { return netlink.RouteAdd(route("203.0.113.0/24", "192.0.2.2")) }},
		{"route is replaced", "route replaced", func() error { return netlink.RouteReplace(route("203.0.113.0/24", "192.0.2.3")) }},
		{"route is removed", "route removed", func() error { return netlink.RouteDel(route("203.0.113.0/24", "192.0.2.3")) }},
		{"IPv6 route is added", "", func() error { return netlink.RouteAdd(route("2001:db8:2::/64", "2001:db8::2")) }},
		{"IPv6 route is replaced", "route replaced", func() error { return netlink.RouteReplace(route("2001:db8:2::/64", "2001:db8::3")) }},
		{"IPv6 route is removed", "route removed", func() error { return netlink.RouteDel(route("2001:db8:2::/64", "2001:db8::3")) }},
	}
	sink.drain()
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			in(t, w.Sandbox, step.do)
			if step.cause != "" {
				sink.until(t, w.Key, step.cause)
				sink.drain()
				return
			}
			mark(t, w)
			if g := sink.next(t); !strings.HasPrefix(g.cause, "link changed") {
				t.Errorf("enqueued for %q", g.cause)
			}
		})
	}
}

// bonded is a pod's record with the link a in place of its bond.
func bonded(t *testing.T) *bond.Record {
	t.Helper()
	w := pod(t, "pod")
	in(t, w.Sandbox, func() error {
		l, err := netlink.LinkByName("a")
		w.BondIndex = l.Attrs().Index
		return err
	})
	return w
}

// TestBondDown: a bond that is set down and up at once is reported before its key, and no other link is.
func TestBondDown(t *testing.T) {
	w := bonded(t)
	r, sink, downs := newRecords(t), newSink(), make(chan bond.Key, 8)
	r.put(t, w)
	start(t, r, sink, func(m *Monitor) { m.cfg.OnBondDown = func(k bond.Key) { downs <- k } })
	sink.drain()
	in(t, w.Sandbox, func() error { return errors.Join(netlink.LinkSetDown(link("b")), setUpLink("b")) })
	mark(t, w)
	sink.drain()
	if len(downs) != 0 {
		t.Errorf("%d bonds are down after another link was", len(downs))
	}
	in(t, w.Sandbox, func() error { return errors.Join(netlink.LinkSetDown(link("a")), setUpLink("a")) })
	if g := sink.next(t); len(downs) == 0 || g.key != w.Key {
		t.Fatalf("%d reports before the key %s", len(downs), g.key)
	}
	if k := <-downs; k != w.Key {
		t.Errorf("bond %s is reported", k)
	}
}

// TestDrained: after the wait, everything that the kernel had reported before is passed on.
func TestDrained(t *testing.T) {
	w := bonded(t)
	r, sink := newRecords(t), newSink()
	r.put(t, w)
	var downs atomic.Int64
	h := start(t, r, sink, func(m *Monitor) {
		m.Drained(t.Context()) // nothing listens yet
		m.cfg.OnBondDown = func(bond.Key) { downs.Add(1) }
	})
	sink.drain()
	h.Drained(t.Context())
	for n := range int64(100) {
		in(t, w.Sandbox, func() error { return netlink.LinkSetDown(link("a")) })
		ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
		h.Drained(ctx)
		if err := ctx.Err(); err != nil || downs.Load() <= n {
			t.Fatalf("%d of %d events are passed on after the wait (%v)", downs.Load(), n+1, err)
		}
		cancel()
		in(t, w.Sandbox, func() error { return setUpLink("a") })
		h.Drained(t.Context())
		downs.Store(n + 1) // an event may come twice
	}
}

// TestDrainedEnds: the wait includes the event that was received last, and ends with its context and with the socket.
func TestDrainedEnds(t *testing.T) {
	s := open(t)
	noise(t, 1)
	if _, _, err := s.receive(); err != nil {
		t.Fatal(err)
	}
	if s.handling.TryLock() {
		t.Fatal("an event that was received counts as handled")
	}
	s.release()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.drained(ended)
	waits := make(chan struct{})
	go func() { s.drained(context.Background()); close(waits) }()
	kit.Eventually(t, "two wait", func() bool {
		s.handling.Lock()
		defer s.handling.Unlock()
		return len(s.waiting) == 2
	})
	kit.Must(t, s.close())
	if _, _, err := s.receive(); err == nil {
		t.Fatal("received from a closed socket")
	}
	select {
	case <-waits:
	case <-time.After(testTimeout):
		t.Error("still waiting although the socket is closed")
	}
	s.drained(t.Context()) // nothing will come
}

// TestMissed: events that were lost count before the wait for events ends, and again when there is a new socket.
func TestMissed(t *testing.T) {
	l, _ := listenTo(t, indexOf(nil))
	s, atEnd := open(t), make(chan uint64, 1)
	s.vector.SetLen(64) // too short
	noise(t, 1)
	empty := make(chan struct{})
	s.waiting = append(s.waiting, empty)
	go func() { <-empty; atEnd <- l.monitor.Missed() }()
	ctx, cancel := context.WithCancel(t.Context())
	l.monitor.openSocket = func(int) (*socket, error) {
		if n := <-atEnd; n != 1 {
			t.Errorf("%d when the wait ended, want 1", n)
		}
		cancel()
		return open(t), nil
	}
	l.run(ctx, s)
	if n := l.monitor.Missed(); n < 2 {
		t.Errorf("%d after the new socket was opened, want 2", n)
	}
}

// TestMove: a link that leaves a pod enqueues the bonds of the pod that it leaves and of the pod that it enters.
func TestMove(t *testing.T) {
	from, to := pod(t, "from"), pod(t, "to")
	r, sink := newRecords(t), newSink()
	r.put(t, from)
	r.put(t, to)
	start(t, r, sink)
	in(t, from.Sandbox, func() error { return addVeth("x", "y") })
	sink.drain()
	target, err := os.Open(to.Sandbox.Path)
	kit.Must(t, err)
	in(t, from.Sandbox, func() error { return netlink.LinkSetNsFd(link("x"), int(target.Fd())) })
	kit.Must(t, target.Close())
	seen := map[bond.Key]bool{}
	for !seen[from.Key] || !seen[to.Key] {
		g := sink.next(t)
		if g.key == from.Key && strings.HasPrefix(g.cause, "link removed") || g.key == to.Key && strings.HasPrefix(g.cause, "link changed") {
			seen[g.key] = true
		}
	}
}

// TestForeign: events in the host and in other pods enqueue nothing.
func TestForeign(t *testing.T) {
	own, other := pod(t, "ours"), pod(t, "other")
	ids, err := openNSIDs()
	kit.Must(t, err)
	defer ids.close()
	if _, err := ids.assign(other.Sandbox); err != nil { // so that its events arrive
		t.Fatal(err)
	}
	r, sink := newRecords(t), newSink()
	r.put(t, own)
	h := start(t, r, sink)
	sink.drain()
	before := h.Stats()
	noise := func() error {
		return errors.Join(addVeth("n0", "n1"), setUpLink("n0"), setUpLink("n1"), addAddress("n0", "198.51.100.1/24"),
			netlink.RouteAdd(route("203.0.113.0/24", "198.51.100.2")), netlink.RouteReplace(route("203.0.113.0/24", "198.51.100.3")),
			netlink.RouteDel(route("203.0.113.0/24", "198.51.100.3")), netlink.LinkDel(link("n0")))
	}
	in(t, other.Sandbox, noise)
	kit.Must(t, noise())
	mark(t, own)
	if g := sink.next(t); g.key != own.Key || !strings.HasPrefix(g.cause, "link changed") {
		t.Errorf("enqueued: %v", g)
	}
	after := h.Stats()
	if n := after.Events - before.Events; n < 20 {
		t.Errorf("%d events were read; the foreign events did not arrive", n)
	}
	if n := after.Relevant - before.Relevant; n > 2 {
		t.Errorf("%d events counted as relevant, want the one that was made", n)
	}
}

// TestSandboxEnds: the end of a netns enqueues its bonds, and the Monitor does not delay it.
func TestSandboxEnds(t *testing.T) {
	w := pod(t, "pod")
	r, sink := newRecords(t), newSink()
	r.put(t, w)
	start(t, r, sink)
	kit.Must(t, addVeth("host-end", "pod-end"))
	target, err := os.Open(w.Sandbox.Path)
	kit.Must(t, err)
	err = errors.Join(netlink.LinkSetNsFd(link("pod-end"), int(target.Fd())), target.Close())
	kit.Must(t, err)
	sink.until(t, w.Key, "link changed")
	hostEnd, err := netlink.LinkByName("host-end")
	kit.Must(t, err)
	events := open(t)
	netnstest.Delete(t, w.Sandbox.Path)
	sink.until(t, w.Key, CauseSandbox)
	// The peer is removed with the last reference to the netns.
	events.until(t, "the veth's end in the host goes", func(m message) bool {
		return m.kind == unix.RTM_DELLINK && int(m.index) == hostEnd.Attrs().Index
	})
}

// TestReusedID: the kernel gives the ID of a dead netns to the next one; events enqueue the
// bonds of the pod that has the ID now.
func TestReusedID(t *testing.T) {
	first, second := pod(t, "first"), pod(t, "second")
	r, sink := newRecords(t), newSink()
	r.put(t, first)
	start(t, r, sink)
	id := nsidOf(t, first.Sandbox)
	netnstest.Delete(t, first.Sandbox.Path)
	sink.until(t, first.Key, CauseSandbox)
	r.put(t, second)
	sink.until(t, second.Key, CauseRecord)
	if got := nsidOf(t, second.Sandbox); got != id {
		t.Fatalf("the kernel gave ID %d, not %d again: the test is of no use", got, id)
	}
	sink.drain()
	mark(t, second)
	if g := sink.next(t); g.key != second.Key {
		t.Errorf("enqueued %v", g)
	}
}

func nsidOf(t *testing.T, s bond.Sandbox) int32 {
	t.Helper()
	f, err := os.Open(s.Path)
	kit.Must(t, err)
	defer func() { _ = f.Close() }()
	id, err := netlink.GetNetNsIdByFd(int(f.Fd()))
	kit.Must(t, err)
	return int32(id)
}

// TestOverrun fills the socket's buffer while the reader waits.
func TestOverrun(t *testing.T) {
	own, other := pod(t, "ours"), pod(t, "other")
	r, sink := newRecords(t), newSink()
	r.put(t, own)
	r.put(t, other)
	hold := make(chan struct{})
	sink.before = func(g given) {
		if strings.HasPrefix(g.cause, "link changed") {
			<-hold
		}
	}
	h := start(t, r, sink, func(h *Monitor) { h.cfg.ReceiveBuffer = 1 }) // the kernel uses its minimum
	mark(t, own)                                                         // the reader now waits in the sink
	in(t, own.Sandbox, func() error {
		for range 100 {
			if err := errors.Join(netlink.LinkSetDown(link("b")), setUpLink("b")); err != nil {
				return err
			}
		}
		return nil
	})
	close(hold)
	seen := map[bond.Key]bool{}
	for !seen[own.Key] || !seen[other.Key] {
		if g := sink.next(t); g.cause == CauseOverrun {
			seen[g.key] = true
		}
	}
	if s := h.Stats(); s.Overruns == 0 || s.Reopens == 0 {
		t.Errorf("not counted: %+v", s)
	}
	sink.drain()
	mark(t, other)
	sink.until(t, other.Key, "link changed") // the new socket receives
}

// TestSubscribedFirst: before the key of a new record is enqueued, its netns has an ID and its events arrive.
func TestSubscribedFirst(t *testing.T) {
	r, sink := newRecords(t), newSink()
	r.put(t, watched("early", 1))
	h := start(t, r, sink)
	w := pod(t, "late")
	if id := nsidOf(t, w.Sandbox); id != noNSID {
		t.Fatalf("the sandbox has ID %d before it was assigned one", id)
	}
	var id int32
	var keys []bond.Key
	var once sync.Once // the key is enqueued again when the netns is deleted at the test's end
	sink.before = func(g given) {
		if g.key != w.Key {
			return
		}
		once.Do(func() {
			id = nsidOf(t, w.Sandbox)
			keys = h.index.Load().sandboxes[id]
		})
	}
	r.put(t, w)
	sink.until(t, w.Key, CauseRecord)
	if id == noNSID || len(keys) != 1 || keys[0] != w.Key {
		t.Errorf("when the key was enqueued the netns had ID %d, which is the ID of %v", id, keys)
	}
}

// TestDeadSandbox: a record whose netns is gone, or whose path leads to another one, is enqueued once.
func TestDeadSandbox(t *testing.T) {
	gone, moved, live := pod(t, "gone"), pod(t, "moved"), pod(t, "live")
	netnstest.Delete(t, gone.Sandbox.Path)
	moved.Sandbox.Inode++
	r, sink := newRecords(t), newSink()
	for _, w := range []*bond.Record{gone, moved, live} {
		r.put(t, w)
	}
	start(t, r, sink)
	if id := nsidOf(t, moved.Sandbox); id != noNSID {
		t.Errorf("a netns that is not the record's was given ID %d", id)
	}
	mark(t, live)
	for _, g := range sink.until(t, live.Key, "link changed") {
		// An earlier test's netns may end only now, and live may have its ID: the kernel frees an ID before it reports that.
		if g.key != live.Key || g.cause != CauseSandbox {
			t.Errorf("enqueued again: %v", g)
		}
	}
}
