package link

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/plan"
)

// To find a bond's routes the kernel walks all routes of the netns. Where that takes long, it is put off while links must
// be repaired first: members come back as fast as in any other pod.
const (
	// slowRead is how long it takes at least to read addresses and routes that are then put off.
	slowRead = 50 * time.Millisecond
	// maxPutOff bounds how often in a row: a member that cannot be repaired must not hide a missing route.
	maxPutOff = 3
)

// slowReads remembers the bonds whose addresses and routes take long to read, and how often they were put off since.
type slowReads struct {
	mu     sync.Mutex
	putOff map[bond.Key]int
}

// postpone reports whether the addresses and routes of a bond that needs other repairs are left unread this time.
func (s *slowReads) postpone(k bond.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, slow := s.putOff[k]
	if !slow || n == maxPutOff {
		return false
	}
	s.putOff[k]++
	return true
}

// note is called after a read.
func (s *slowReads) note(k bond.Key, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.putOff == nil {
		s.putOff = map[bond.Key]int{}
	}
	if s.putOff[k] = 0; took < slowRead {
		delete(s.putOff, k)
	}
}

// forget is called for a bond that is not there.
func (s *slowReads) forget(k bond.Key) { s.note(k, 0) }

// observeNetwork fills in the addresses and routes of the bond, or says why they are unread.
func (k *Kernel) observeNetwork(pod *conn, r *bond.Record, o *bond.Observed) error {
	if o.Bond == nil || r.Deleted() {
		k.slow.forget(r.Key)
		return nil
	}
	if r.Phase == bond.PhaseReady && linksDiffer(o) && k.slow.postpone(r.Key) {
		o.Bond.Unread = "addresses and routes are checked after the links, for the pod has many and to read them takes long"
		return nil
	}
	began := time.Now()
	err := pod.observeNetwork(r, o.Bond)
	k.slow.note(r.Key, time.Since(began))
	return err
}

// linksDiffer reports whether a link must be repaired before the bond is as recorded: it is down, or lacks a member that
// is in the pod or the host.
func linksDiffer(o *bond.Observed) bool {
	for i := range o.Members {
		if m := &o.Members[i]; m.Place == bond.InHost || m.Place == bond.InPod && m.Link.Master != o.Bond.Index {
			return true
		}
	}
	return !o.Bond.Up
}

// observeNetwork fills in the addresses and routes of the bond. If the pod changes them so fast that no dump is complete,
// they remain unread: the pod must not be able to prevent the repair of its links.
func (c *conn) observeNetwork(r *bond.Record, o *bond.ObservedBond) error {
	err := c.observeAddresses(r, o)
	if err == nil {
		err = c.observeRoutes(r, o)
	}
	if err == nil {
		return c.confirmUp(o)
	}
	if !errors.Is(err, netlink.ErrDumpInterrupted) {
		return err
	}
	plan.NewAddressList(r, o)
	plan.NewRouteList(r, o)
	o.Unread = fmt.Sprintf("the pod changes its addresses or routes faster than they can be read (%d attempts); they are checked when it stops", dumpTries)
	return nil
}

// confirmUp reads the bond's state again. If it went down after its link was read, it took its routes along, and nobody
// may take that for another writer's wish.
func (c *conn) confirmUp(o *bond.ObservedBond) error {
	now, err := c.lookUp(o.Index)
	switch {
	case err != nil:
		return err
	case now == nil:
		o.Unread = "the bond was deleted while it was observed"
	default:
		o.Up, o.Carrier = o.Up && now.Up, now.Carrier
	}
	return nil
}
