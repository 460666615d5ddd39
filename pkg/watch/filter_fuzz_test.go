package watch

import (
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// anyPod is an index in which every netns ID of the test is a pod's, so that each message that can concern a bond does.
func anyPod() *index {
	w := watched("a", 1)
	w.Members = vfs("0000:01:00.0", "0000:01:10.0")
	idx := newIndex([]*bond.Record{w}, 7, func(bond.Sandbox) (int32, error) { return 1, nil })
	idx.sandboxes[7] = []bond.Key{w.Key}
	return idx
}

// FuzzEventFilter runs the socket filter in an interpreter beside the decoder. A message for which the decoder enqueues
// a bond must pass the filter, otherwise the kernel would drop an event that is needed. The converse: a link message of
// AF_BRIDGE, a new address and a route that replaces none must not pass.
func FuzzEventFilter(f *testing.F) {
	f.Add(linkMsg(unix.RTM_NEWLINK, 4, upAndRunning, "0000:01:10.0"), int32(1))
	f.Add(linkMsg(unix.RTM_DELLINK, 4, 0, "0000:01:00.0"), noNSID)
	f.Add(msg(unix.RTM_NEWLINK, 0, ifInfo(unix.AF_BRIDGE, 4, 0)), int32(1))
	f.Add(msg(unix.RTM_NEWADDR, 0, make([]byte, 8)), int32(1))
	f.Add(msg(unix.RTM_DELADDR, 0, make([]byte, 8)), int32(1))
	f.Add(msg(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE, make([]byte, 12)), int32(1))
	f.Add(msg(unix.RTM_NEWROUTE, unix.NLM_F_CREATE, make([]byte, 12)), int32(1))
	f.Add(msg(unix.RTM_DELROUTE, 0, make([]byte, 12)), int32(1))
	f.Add(nsidMsg(unix.RTM_DELNSID, 1), int32(7))
	raw, err := eventFilter()
	kit.Must(f, err)
	program, complete := bpf.Disassemble(raw)
	if !complete {
		f.Fatal("the filter has an instruction that the interpreter does not know")
	}
	vm, err := bpf.NewVM(program)
	kit.Must(f, err)
	l, _ := listenTo(f, anyPod())
	sink := &listSink{}
	l.sink = sink
	f.Fuzz(func(t *testing.T, data []byte, nsid int32) {
		m, rest, ok := next(data)
		if !ok {
			return
		}
		data = data[:len(data)-len(rest)] // the kernel runs the filter on one message
		clear(l.pfState)
		*sink = (*sink)[:0]
		l.dispatch(data, nsid)
		passed, err := vm.Run(data)
		kit.Must(t, err)
		if len(*sink) > 0 && passed < len(data) {
			t.Fatalf("type %d, flags %#x: bonds %v are enqueued, and the filter passes %d of %d bytes", m.kind, m.flags, *sink, passed, len(data))
		}
		needed := []uint16{unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_DELADDR, unix.RTM_DELROUTE, unix.RTM_NEWROUTE, unix.RTM_DELNSID}
		switch {
		case passed == 0:
		case m.kind != 0 && !slices.Contains(needed, m.kind):
			t.Fatalf("a message of type %d passes the filter", m.kind)
		case m.kind == unix.RTM_NEWROUTE && m.flags&unix.NLM_F_REPLACE == 0:
			t.Fatalf("a new route with flags %#x passes the filter", m.flags)
		}
	})
}
