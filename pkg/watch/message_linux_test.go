package watch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// attr is a netlink attribute, padded.
func attr(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

// msg is a netlink message with that body, padded.
func msg(kind, flags uint16, body ...[]byte) []byte {
	b := bytes.Join(body, nil)
	h := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(b)))
	h = binary.NativeEndian.AppendUint16(h, kind)
	h = binary.NativeEndian.AppendUint16(h, flags)
	b = append(append(h, make([]byte, 8)...), b...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

// ifInfo is the fixed part of a link message.
func ifInfo(family byte, index int32, flags uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = family
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	return b
}

// linkMsg is a link message with further attributes around the one under test, as the kernel sends it.
func linkMsg(kind uint16, index int32, flags uint32, parent string) []byte {
	body := [][]byte{ifInfo(unix.AF_UNSPEC, index, flags), attr(unix.IFLA_IFNAME, []byte("eth0\x00"))}
	for i := range uint16(30) {
		body = append(body, attr(100+i, make([]byte, i)))
	}
	if parent != "" {
		body = append(body, attr(unix.IFLA_PARENT_DEV_NAME, append([]byte(parent), 0)))
	}
	return msg(kind, 0, append(body, attr(unix.IFLA_AF_SPEC, make([]byte, 800)))...)
}

func nsidMsg(kind uint16, id int32) []byte {
	return msg(kind, 0, make([]byte, 4), attr(unix.NETNSA_NSID, binary.NativeEndian.AppendUint32(nil, uint32(id))))
}

const upAndRunning = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP

// twoPods have netns IDs 1 and 2, one VF each on both PFs, and the ID 7 for themselves. A third pod is gone.
func twoPods() *index {
	a, b := watched("a", 1), watched("b", 2)
	a.Members = vfs("0000:01:00.0", "0000:01:10.0", "0000:02:00.0", "0000:02:10.0")
	b.Members = vfs("0000:01:00.0", "0000:01:10.2", "0000:02:00.0", "0000:02:10.2", "0000:02:00.0", "", "", "")
	return newIndex([]*bond.Record{a, b, watched("dead", 3)}, 7, func(s bond.Sandbox) (int32, error) {
		if s.Inode == 3 {
			return noNSID, nil
		}
		return int32(s.Inode), nil
	})
}

func listenTo(t testing.TB, idx *index) (*listener, *fakeSink) {
	h, err := New(newRecords(t).config(t))
	kit.Must(t, err)
	h.index.Store(idx)
	sink := newSink()
	l := newListener(h, sink)
	l.function = func(device string) bond.PCIAddress {
		return map[string]bond.PCIAddress{"virtio3": "0000:01:10.2", "virtio4": "0000:09:00.0"}[device]
	}
	return l, sink
}

func TestDispatch(t *testing.T) {
	other := linkMsg(unix.RTM_NEWLINK, 9, 0, "0000:09:00.0")
	tests := []struct {
		name string
		nsid int32
		data []byte
		want []string
	}{
		{"link in a pod", 1, linkMsg(unix.RTM_NEWLINK, 4, 0, ""), []string{"a link changed ifindex 4"}},
		{"link gone from a pod", 2, linkMsg(unix.RTM_DELLINK, 5, 0, ""), []string{"b link removed ifindex 5"}},
		{"link in some pod", 3, linkMsg(unix.RTM_NEWLINK, 4, 0, ""), nil},
		{"link in the host", noNSID, linkMsg(unix.RTM_NEWLINK, 4, 0, ""), nil},
		{"VF in the host", noNSID, linkMsg(unix.RTM_NEWLINK, 6, 0, "0000:01:10.2"), []string{"b VF 0000:01:10.2 changed ifindex 6"}},
		{"VF in some pod", 3, linkMsg(unix.RTM_NEWLINK, 6, 0, "0000:01:10.2"), []string{"b VF 0000:01:10.2 changed ifindex 6"}},
		{"VF in its pod", 2, linkMsg(unix.RTM_NEWLINK, 6, 0, "0000:01:10.2"), []string{"b link changed ifindex 6"}},
		{"VF in another of ours", 1, linkMsg(unix.RTM_NEWLINK, 6, 0, "0000:01:10.2"),
			[]string{"b VF 0000:01:10.2 changed ifindex 6", "a link changed ifindex 6"}},
		{"VF gone from the host", noNSID, linkMsg(unix.RTM_DELLINK, 6, 0, "0000:01:10.0"), []string{"a VF 0000:01:10.0 removed ifindex 6"}},
		{"foreign VF", noNSID, other, nil},
		{"virtio VF in the host", noNSID, linkMsg(unix.RTM_NEWLINK, 6, 0, "virtio3"), []string{"b VF 0000:01:10.2 changed ifindex 6"}},
		{"foreign virtio VF", noNSID, linkMsg(unix.RTM_NEWLINK, 6, 0, "virtio4"), nil},
		{"virtio device without PCI function", noNSID, linkMsg(unix.RTM_NEWLINK, 6, 0, "virtio5"), nil},
		{"address that is part of another", noNSID, linkMsg(unix.RTM_NEWLINK, 6, 0, "0000:01:10.22"), nil},
		{"PF", noNSID, linkMsg(unix.RTM_NEWLINK, 2, 0, "0000:01:00.0"),
			[]string{"a PF 0000:01:00.0 changed ifindex 2", "b PF 0000:01:00.0 changed ifindex 2"}},
		{"bridge port", 1, msg(unix.RTM_NEWLINK, 0, ifInfo(unix.AF_BRIDGE, 4, 0)), nil},
		{"several messages", 1, slices.Concat(other, linkMsg(unix.RTM_DELLINK, 5, 0, "")),
			[]string{"a link changed ifindex 9", "a link removed ifindex 5"}},
		{"sandbox ends", noNSID, nsidMsg(unix.RTM_DELNSID, 2), []string{"b sandbox gone"}},
		{"sandbox ends, by the host's own ID", 7, nsidMsg(unix.RTM_DELNSID, 2), nil},
		{"ID in a pod's own count", 1, nsidMsg(unix.RTM_DELNSID, 2), nil},
		{"ID is given", noNSID, nsidMsg(unix.RTM_NEWNSID, 2), nil},
		{"short message", 1, msg(unix.RTM_NEWLINK, 0, make([]byte, 12)), nil},
		{"cut message", 1, linkMsg(unix.RTM_NEWLINK, 4, 0, "")[:40], nil},
		{"attribute of no length", noNSID, msg(unix.RTM_NEWLINK, 0, ifInfo(0, 4, 0), []byte{0, 0, 0, 0}), nil},
		{"attribute shorter than its header", noNSID, msg(unix.RTM_NEWLINK, 0, ifInfo(0, 4, 0), []byte{3, 0, unix.IFLA_PARENT_DEV_NAME, 0}), nil},
		{"attribute longer than the message", noNSID, msg(unix.RTM_NEWLINK, 0, ifInfo(0, 4, 0), []byte{40, 0, unix.IFLA_PARENT_DEV_NAME, 0}), nil},
		{"unknown kind", 1, msg(999, 0, make([]byte, 40)), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			idx := twoPods()
			if tt.name != "sandbox ends, by the host's own ID" {
				idx.self = noNSID
			} else {
				tt.want = []string{"b sandbox gone"}
			}
			l, sink := listenTo(t, idx)
			l.dispatch(tt.data, tt.nsid)
			if got := drain(sink); !slices.Equal(got, tt.want) {
				t.Errorf("enqueued %q, want %q", got, tt.want)
			}
			if verify := len(l.monitor.verify) > 0; verify != (len(tt.want) > 0 && tt.want[0] == "b sandbox gone") {
				t.Errorf("IDs are read again: %t", verify)
			}
		})
	}
}

func drain(sink *fakeSink) (got []string) {
	for len(sink.got) > 0 {
		g := <-sink.got
		got = append(got, fmt.Sprintf("%s %s", g.key.ContainerID, g.cause))
	}
	return got
}

// TestPF: an event of a PF enqueues keys only if its state changed; the kernel sends one per VF setting as well.
func TestPF(t *testing.T) {
	l, sink := listenTo(t, twoPods())
	steps := []struct {
		name     string
		data     []byte
		enqueued bool
	}{
		{"removed before any other event", linkMsg(unix.RTM_DELLINK, 2, 0, "0000:01:00.0"), true},
		{"first", linkMsg(unix.RTM_NEWLINK, 2, upAndRunning, "0000:01:00.0"), true},
		{"VF setting", linkMsg(unix.RTM_NEWLINK, 2, upAndRunning, "0000:01:00.0"), false},
		{"promiscuous", linkMsg(unix.RTM_NEWLINK, 2, upAndRunning|unix.IFF_PROMISC, "0000:01:00.0"), false},
		{"the other PF", linkMsg(unix.RTM_NEWLINK, 3, upAndRunning, "0000:02:00.0"), true},
		{"no carrier", linkMsg(unix.RTM_NEWLINK, 2, unix.IFF_UP, "0000:01:00.0"), true},
		{"VF setting without carrier", linkMsg(unix.RTM_NEWLINK, 2, unix.IFF_UP, "0000:01:00.0"), false},
		{"carrier", linkMsg(unix.RTM_NEWLINK, 2, upAndRunning, "0000:01:00.0"), true},
		{"gone", linkMsg(unix.RTM_DELLINK, 2, 0, "0000:01:00.0"), true},
		{"back", linkMsg(unix.RTM_NEWLINK, 2, 0, "0000:01:00.0"), true},
		{"back under another index", linkMsg(unix.RTM_NEWLINK, 4, 0, "0000:01:00.0"), true},
	}
	for _, step := range steps {
		l.dispatch(step.data, noNSID)
		if got := len(drain(sink)); got != 0 != step.enqueued || step.enqueued && got != 2 {
			t.Errorf("%s: enqueued %d keys, want two: %t", step.name, got, step.enqueued)
		}
	}
}

func TestControlNSID(t *testing.T) {
	oob := make([]byte, unix.CmsgSpace(4))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.SetLen(unix.CmsgLen(4))
	h.Level, h.Type = unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID
	binary.NativeEndian.PutUint32(oob[unix.CmsgLen(0):], 42)
	for n := range oob {
		want := noNSID
		if n >= unix.CmsgLen(4) {
			want = 42
		}
		if got := controlNSID(oob[:n]); got != want {
			t.Errorf("%d bytes: %d, want %d", n, got, want)
		}
	}
	h.Type = unix.NETLINK_PKTINFO
	if got := controlNSID(oob); got != noNSID {
		t.Errorf("another control message: %d", got)
	}
}

// listSink is a sink without a channel: the fuzzer would count the scheduler's work as coverage.
type listSink []given

func (s *listSink) Enqueue(key bond.Key, cause string) { *s = append(*s, given{key, cause}) }

// FuzzDispatch: for any input, each message makes progress, and only keys of the netns and of a device in the input are
// enqueued.
func FuzzDispatch(f *testing.F) {
	f.Add(linkMsg(unix.RTM_NEWLINK, 4, upAndRunning, "0000:01:10.0"), int32(1))
	f.Add(linkMsg(unix.RTM_DELLINK, 4, 0, "0000:01:00.0"), noNSID)
	f.Add(nsidMsg(unix.RTM_DELNSID, 1), int32(7))
	f.Add(msg(unix.RTM_DELADDR, 0, make([]byte, 8)), int32(2))
	f.Add(msg(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE, make([]byte, 12)), int32(2))
	f.Add(slices.Concat(msg(unix.RTM_NEWLINK, 0, ifInfo(0, 1, 1), []byte{3, 0, 1, 0}), nsidMsg(unix.RTM_DELNSID, 2)), noNSID)
	l, _ := listenTo(f, twoPods())
	sink := &listSink{}
	l.sink = sink
	f.Fuzz(func(t *testing.T, data []byte, nsid int32) {
		for rest := data; ; {
			m, after, ok := next(rest)
			if !ok {
				break
			}
			if len(after) >= len(rest) {
				t.Fatalf("no progress at %d bytes", len(rest))
			}
			if len(m.parent) > len(rest) {
				t.Fatal("more name than bytes")
			}
			rest = after
		}
		*sink = (*sink)[:0]
		l.dispatch(data, nsid)
		inBytes := bytes.Contains(data, []byte("0000:0"))
		delNSID := binary.NativeEndian.AppendUint16(nil, unix.RTM_DELNSID)
		for _, g := range *sink {
			own := nsid == 1 && g.key.ContainerID == "a" || nsid == 2 && g.key.ContainerID == "b"
			if !own && !inBytes && !(nsid == 7 && bytes.Contains(data, delNSID)) {
				t.Fatalf("enqueued %v for netns %d", g, nsid)
			}
		}
	})
}

// TestPFWithoutBonds: while no bond has a VF of a PF, its events are not followed. So its state from before counts no
// longer when one has again: the PF may have lost its carrier, and its return is news.
func TestPFWithoutBonds(t *testing.T) {
	l, sink := listenTo(t, twoPods())
	carrier := linkMsg(unix.RTM_NEWLINK, 2, upAndRunning, "0000:01:00.0")
	l.dispatch(carrier, noNSID)
	drain(sink)
	pods := l.monitor.index.Swap(newIndex(nil, noNSID, nil))
	l.dispatch(linkMsg(unix.RTM_NEWLINK, 2, unix.IFF_UP, "0000:01:00.0"), noNSID)
	l.monitor.index.Store(pods)
	l.dispatch(carrier, noNSID)
	if got := drain(sink); len(got) != 2 {
		t.Errorf("carrier returned: enqueued %q, want two keys", got)
	}
}

// TestPFWithSeveralLinks: representors have the PF's PCI address, too, and so have the ports of some cards. An event of
// one does not make the next event of another one news.
func TestPFWithSeveralLinks(t *testing.T) {
	l, sink := listenTo(t, twoPods())
	for range 3 {
		l.dispatch(linkMsg(unix.RTM_NEWLINK, 2, upAndRunning, "0000:01:00.0"), noNSID)
		l.dispatch(linkMsg(unix.RTM_NEWLINK, 20, unix.IFF_UP, "0000:01:00.0"), noNSID)
	}
	if got := drain(sink); len(got) != 4 {
		t.Errorf("two links, each without a change: enqueued %q, want the first event of each", got)
	}
}
