package watch

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// dispatch hands out the keys of all messages in data, which came from the netns with the ID nsid,
// or from the host's own (noNSID). Most concern nobody: until that is known, nothing is allocated.
func (l *listener) dispatch(data []byte, nsid int32) {
	idx := l.hub.index.Load()
	for {
		m, rest, ok := next(data)
		if !ok {
			return
		}
		data = rest
		l.hub.events.Add(1)
		if l.handOut(idx, &m, nsid) {
			l.hub.relevant.Add(1)
		}
	}
}

// handOut says whether m concerned a bond.
func (l *listener) handOut(idx *index, m *message, nsid int32) bool {
	switch m.kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		inPod := idx.sandboxes[nsid]
		byDevice := l.deviceEvent(idx, m, inPod)
		return l.handAll(inPod, m) || byDevice
	case unix.RTM_DELADDR, unix.RTM_DELROUTE:
		return l.handAll(idx.sandboxes[nsid], m)
	case unix.RTM_NEWROUTE:
		// What is added takes nothing away, unless it replaced a route: that is told by this alone.
		return m.flags&unix.NLM_F_REPLACE != 0 && l.handAll(idx.sandboxes[nsid], m)
	case unix.RTM_DELNSID:
		return l.sandboxGone(idx, m, nsid)
	}
	return false
}

// handAll gives the cause of a pod's event to all keys of the pod.
func (l *listener) handAll(keys []bond.Key, m *message) bool {
	if len(keys) == 0 {
		return false
	}
	var cause string
	switch m.kind {
	case unix.RTM_NEWLINK:
		cause = fmt.Sprintf("link changed ifindex %d", m.index)
	case unix.RTM_DELLINK:
		cause = fmt.Sprintf("link removed ifindex %d", m.index)
	case unix.RTM_DELADDR:
		cause = fmt.Sprintf("address removed ifindex %d", m.index)
	case unix.RTM_DELROUTE:
		cause = "route removed"
	case unix.RTM_NEWROUTE:
		cause = "route replaced"
	}
	for _, k := range keys {
		l.sink.Enqueue(k, cause)
	}
	return true
}

// deviceEvent hands out the keys that a link event concerns by the PCI function, in whatever
// netns it is: a member that came back is in the host's, one that somebody took may be in any. The keys
// inPod get the event anyway.
func (l *listener) deviceEvent(idx *index, m *message, inPod []bond.Key) bool {
	d := idx.devices[bond.PCIAddress(m.parent)] // does not allocate
	if d == nil {
		return false
	}
	what := "changed"
	if m.kind == unix.RTM_DELLINK {
		what = "removed"
	}
	if len(d.members) > 0 {
		cause := fmt.Sprintf("VF %s %s ifindex %d", d.pci, what, m.index)
		for _, k := range d.members {
			if !slices.Contains(inPod, k) {
				l.sink.Enqueue(k, cause)
			}
		}
	}
	if !l.turned(d, m) {
		return len(d.members) > 0
	}
	cause := fmt.Sprintf("PF %s %s ifindex %d", d.pci, what, m.index)
	for _, k := range d.onPF {
		if !slices.Contains(inPod, k) {
			l.sink.Enqueue(k, cause)
		}
	}
	return true
}

// turned says whether a PF's event tells something new about it: another netdev, up or carrier.
// A PF also tells of each VF setting that is written (do_setlink in net/core/rtnetlink.c), so that
// without this one repair would look at every bond on the PF several times. What was told
// before an overrun counts for nothing.
func (l *listener) turned(d *device, m *message) bool {
	if len(d.onPF) == 0 {
		return false
	}
	var now uint64
	if m.kind == unix.RTM_NEWLINK {
		now = uint64(uint32(m.index))<<32 | uint64(m.state&(unix.IFF_UP|unix.IFF_RUNNING|unix.IFF_LOWER_UP))
	}
	if now == l.told[d.pci] && now != 0 {
		return false
	}
	l.told[d.pci] = now
	return true
}

// sandboxGone hands out the keys of a netns that lost its ID, which happens only when it ends. The
// index is not changed here: the ID may already be another netns's, so all are asked for again.
func (l *listener) sandboxGone(idx *index, m *message, nsid int32) bool {
	if nsid != idx.self {
		return false // an ID among those that a pod's netns has for others
	}
	keys := idx.sandboxes[m.nsid]
	if len(keys) == 0 {
		return false
	}
	for _, k := range keys {
		l.sink.Enqueue(k, CauseSandbox)
	}
	select {
	case l.hub.verify <- struct{}{}:
	default:
	}
	return true
}
