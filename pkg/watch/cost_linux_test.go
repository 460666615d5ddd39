package watch

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// manyPods returns n bonds of two VFs each, on two PFs.
func manyPods(n int) []*bond.Record {
	all := make([]*bond.Record, n)
	for i := range all {
		all[i] = watched(fmt.Sprintf("%064x", i), uint64(i))
		all[i].Members = vfs("0000:01:00.0", fmt.Sprintf("0000:03:%02x.%d", i/8, i%8), "0000:02:00.0", fmt.Sprintf("0000:04:%02x.%d", i/8, i%8))
	}
	return all
}

func indexOf(all []*bond.Record) *index {
	return newIndex(all, noNSID, func(s bond.Sandbox) (int32, error) { return int32(s.Inode), nil })
}

// foreignEvents are events of a node's other pods and of its own network.
var foreignEvents = []struct {
	name string
	nsid int32
	data []byte
}{
	{"host link", noNSID, linkMsg(unix.RTM_NEWLINK, 9, upAndRunning, "")},
	{"host VF", noNSID, linkMsg(unix.RTM_NEWLINK, 9, upAndRunning, "0000:09:10.0")},
	{"PF again", noNSID, linkMsg(unix.RTM_NEWLINK, 9, upAndRunning, "0000:01:00.0")},
	{"host route", noNSID, msg(unix.RTM_NEWROUTE, 0, make([]byte, 60))},
	{"host address", noNSID, msg(unix.RTM_DELADDR, 0, make([]byte, 60))},
	{"pod link", 1000, linkMsg(unix.RTM_NEWLINK, 9, upAndRunning, "")},
	{"pod route", 1000, msg(unix.RTM_DELROUTE, 0, make([]byte, 60))},
	{"pod ends", noNSID, nsidMsg(unix.RTM_DELNSID, 1000)},
}

// TestForeignEventIsFree: an event that concerns no recorded bond allocates nothing.
func TestForeignEventIsFree(t *testing.T) {
	l, sink := listenTo(t, indexOf(manyPods(256)))
	l.dispatch(foreignEvents[2].data, noNSID) // the PF's state becomes known
	drain(sink)
	for _, e := range foreignEvents {
		if n := testing.AllocsPerRun(100, func() { l.dispatch(e.data, e.nsid) }); n != 0 {
			t.Errorf("%s: %v allocations", e.name, n)
		}
	}
	if got := drain(sink); len(got) > 0 {
		t.Errorf("enqueued %q", got)
	}
}

// TestReceiveIsFree: reading an event from the kernel allocates nothing.
func TestReceiveIsFree(t *testing.T) {
	l, _ := listenTo(t, indexOf(manyPods(256)))
	s, err := openSocket(defaultReceiveBuffer)
	kit.Must(t, err)
	defer func() { _ = s.close() }()
	noise(t, 60)
	const runs = 100
	n := testing.AllocsPerRun(runs, func() {
		data, nsid, err := s.receive()
		kit.Must(t, err)
		l.dispatch(data, nsid)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := l.monitor.events.Load(); n < runs {
		t.Errorf("%d events were read, want %d at least", n, runs)
	}
}

// noise causes at least two link events per round.
func noise(t testing.TB, rounds int) {
	t.Helper()
	for range rounds {
		err := errors.Join(netlink.LinkSetUp(link("lo")), netlink.LinkSetDown(link("lo")))
		kit.Must(t, err)
	}
}

func BenchmarkForeignEvent(b *testing.B) {
	for _, e := range foreignEvents {
		b.Run(e.name, func(b *testing.B) {
			l, sink := listenTo(b, indexOf(manyPods(256)))
			l.dispatch(e.data, e.nsid)
			drain(sink)
			b.ReportAllocs()
			for b.Loop() {
				l.dispatch(e.data, e.nsid)
			}
		})
	}
}

type nullSink struct{}

func (nullSink) Enqueue(bond.Key, string) {}

func BenchmarkOwnEvent(b *testing.B) {
	l, _ := listenTo(b, indexOf(manyPods(256)))
	l.sink = nullSink{}
	data := linkMsg(unix.RTM_NEWLINK, 9, upAndRunning, "")
	b.ReportAllocs()
	for b.Loop() {
		l.dispatch(data, 77)
	}
}

// BenchmarkReceive reads foreign events from the kernel and ignores them; causing them is not counted.
func BenchmarkReceive(b *testing.B) {
	l, _ := listenTo(b, indexOf(manyPods(256)))
	b.ReportAllocs()
	var s *socket
	for i := range b.N {
		if i%1000 == 0 {
			b.StopTimer()
			s = refill(b, s)
			b.StartTimer()
		}
		data, nsid, err := s.receive()
		kit.Must(b, err)
		l.dispatch(data, nsid)
	}
	kit.Must(b, s.close())
}

// refill returns a socket with at least a thousand events to read.
func refill(b *testing.B, old *socket) *socket {
	if old != nil {
		kit.Must(b, old.close())
	}
	s, err := openSocket(64 << 20)
	kit.Must(b, err)
	noise(b, 500)
	return s
}

func BenchmarkIndex256(b *testing.B) {
	all := manyPods(256)
	b.ReportAllocs()
	for b.Loop() {
		indexOf(all)
	}
}

// BenchmarkSubscribe256 is the cost of a new index with 256 pods: when all IDs are read, each netns is opened and
// checked, and after a changed record.
func BenchmarkSubscribe256(b *testing.B) {
	all := manyPods(256)
	for i := range all {
		all[i].Sandbox = sandbox(b)
	}
	for name, afresh := range map[string]bool{"all IDs": true, "changed record": false} {
		b.Run(name, func(b *testing.B) {
			l, sink := listenTo(b, indexOf(nil))
			k := newRecordWatcher(l.monitor, sink)
			before := k.subscribe(all, l.monitor.index.Load(), true)
			b.ReportAllocs()
			for b.Loop() {
				if idx := k.subscribe(all, before, afresh); len(idx.sandboxes) != len(all) {
					b.Fatalf("%d of %d sandboxes have an ID", len(idx.sandboxes), len(all))
				}
			}
		})
	}
}
