package watch

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/virtiopci"
)

// dispatch enqueues the keys for all messages in data. They came from the netns with the ID nsid, or from the host's
// (noNSID). Most messages concern no bond; for these nothing is allocated.
func (l *listener) dispatch(data []byte, nsid int32) {
	idx := l.monitor.index.Load()
	for {
		m, rest, ok := next(data)
		if !ok {
			return
		}
		data = rest
		l.monitor.events.Add(1)
		if l.enqueue(idx, &m, nsid) {
			l.monitor.relevant.Add(1)
		}
	}
}

// enqueue reports whether m concerned a bond.
func (l *listener) enqueue(idx *index, m *message, nsid int32) bool {
	switch m.kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		inPod := idx.sandboxes[nsid]
		l.bondDown(idx, m, nsid)
		byDevice := l.deviceEvent(idx, m, inPod)
		return l.enqueueAll(inPod, m) || byDevice
	case unix.RTM_DELADDR, unix.RTM_DELROUTE:
		return l.enqueueAll(idx.sandboxes[nsid], m)
	case unix.RTM_NEWROUTE:
		// A new route takes nothing away, unless it replaced one: no other message reports that.
		return m.flags&unix.NLM_F_REPLACE != 0 && l.enqueueAll(idx.sandboxes[nsid], m)
	case unix.RTM_DELNSID:
		return l.sandboxGone(idx, m, nsid)
	}
	return false
}

// bondDown passes on that a bond is administratively down. It may be up again before it is observed, but its routes are
// lost.
func (l *listener) bondDown(idx *index, m *message, nsid int32) {
	if m.kind != unix.RTM_NEWLINK || m.state&unix.IFF_UP != 0 || nsid == noNSID {
		return
	}
	if k, is := idx.bonds[place{nsid, m.index}]; is {
		l.monitor.cfg.OnBondDown(k)
	}
}

// enqueueAll enqueues all keys of a pod with the cause of its event.
func (l *listener) enqueueAll(keys []bond.Key, m *message) bool {
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

// deviceEvent enqueues the keys that a link event concerns by its PCI function, in any netns: a member that came back
// is in the host's, and one that was moved can be in any. The keys inPod get the event anyway.
func (l *listener) deviceEvent(idx *index, m *message, inPod []bond.Key) bool {
	d := idx.devices[bond.PCIAddress(m.parent)] // does not allocate
	if d == nil && len(idx.devices) > 0 && virtiopci.IsName(m.parent) {
		d = idx.devices[l.function(string(m.parent))]
	}
	if d == nil {
		delete(l.pfState, bond.PCIAddress(m.parent)) // it is not followed any more
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
	if !l.pfStateChanged(d, m) {
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

// pfStateChanged reports whether a PF's event has a new netdev, up flag or carrier. The kernel also sends an event of
// the PF for each VF setting that is written (do_setlink in net/core/rtnetlink.c). Without this check one repair would
// cause several reconciles of each bond on the PF. States from before an overrun do not count. A PF may have several
// links: ports, and representors, which have its PCI address, too.
func (l *listener) pfStateChanged(d *device, m *message) bool {
	if len(d.onPF) == 0 {
		return false
	}
	links := l.pfState[d.pci]
	if m.kind == unix.RTM_DELLINK {
		delete(links, m.index)
		return true
	}
	now := m.state & (unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP)
	if before, known := links[m.index]; known && before == now {
		return false
	}
	if links == nil {
		links = map[int32]uint32{}
		l.pfState[d.pci] = links
	}
	links[m.index] = now
	return true
}

// sandboxGone enqueues the keys of a netns that lost its ID, which happens only when it ends. The index is not changed
// here: the ID may belong to another netns already, so all IDs are read again.
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
	case l.monitor.verify <- struct{}{}:
	default:
	}
	return true
}
