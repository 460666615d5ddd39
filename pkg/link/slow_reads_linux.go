package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// To find a bond's routes the kernel walks all routes of the netns. If that takes long, it is postponed while links must be
// repaired first, so that members return as fast as in any other pod. If it does not, it is postponed once while only
// members are to be attached: they return sooner still.
const (
	// slowRead is the time from which a read of addresses and routes counts as slow.
	slowRead = 50 * time.Millisecond
	// maxPostponed bounds the postponements in a row of a slow read: a member that cannot be repaired must not hide a
	// missing route.
	maxPostponed = 3
	// slowShare bounds the time for observing links during a read: the pause after one is its own time, multiplied by
	// this.
	slowShare = 10
	// slowFor is how long a slow read is remembered: longer than any pause between two.
	slowFor = 10 * time.Minute
)

// errLinksDiffer ends a read of addresses and routes, because links are to be repaired first.
var errLinksDiffer = errors.New("links are to be repaired first")

// slowReads remembers the bonds whose addresses and routes take long to read, or were left unread.
type slowReads struct {
	mu    sync.Mutex
	bonds map[bond.Key]slowBond
}

type slowBond struct {
	at        time.Time // of the last read
	slow      bool      // that read was slow
	postponed int       // number of reads postponed since
}

// postpone reports whether the addresses and routes of a bond that needs other repairs are left unread this time. A slow
// read is postponed up to maxPostponed times in a row, another one up to the given number of times. With maxPostponed it
// counts as slow.
func (s *slowReads) postpone(k bond.Key, times int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bonds[k]
	if b.slow = b.slow || times == maxPostponed; b.slow {
		times = maxPostponed
	}
	if b.postponed >= times {
		return false
	}
	b.postponed++
	s.remember(k, b)
	return true
}

// record is called after a read.
func (s *slowReads) record(k bond.Key, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if took < slowRead {
		delete(s.bonds, k)
		return
	}
	s.remember(k, slowBond{slow: true})
}

// remember also drops the bonds that were not read for long, because they are gone.
func (s *slowReads) remember(k bond.Key, b slowBond) {
	if s.bonds == nil {
		s.bonds = map[bond.Key]slowBond{}
	}
	b.at = time.Now()
	s.bonds[k] = b
	maps.DeleteFunc(s.bonds, func(_ bond.Key, other slowBond) bool { return b.at.Sub(other.at) > slowFor })
}

// observeNetwork reads the addresses and routes of the bond, or records why they are unread. If the links change
// meanwhile, o has their new state.
func (k *Kernel) observeNetwork(ctx context.Context, pod *conn, r *bond.Record, o *bond.Observed) error {
	if r.Deleted() {
		k.slow.record(r.Key, 0)
	}
	if o.Bond == nil || r.Deleted() || r.WithoutNetwork() {
		return nil
	}
	if o.LinksDiffer() && k.slow.postpone(r.Key, postponements(r, o)) {
		o.Bond.Unread, o.Bond.ReadLater = unreadLater, true
		return nil
	}
	if r.Phase == bond.PhaseReady {
		pod.pause = k.whileLinksAgree(ctx, r, o)
	}
	began := time.Now()
	err := pod.observeNetwork(r, o.Bond)
	if errors.Is(err, errLinksDiffer) {
		return nil
	}
	k.slow.record(r.Key, time.Since(began))
	return err
}

// postponements returns how often a read is postponed that is not known to be slow.
func postponements(r *bond.Record, o *bond.Observed) int {
	switch {
	case r.Phase == bond.PhaseAdding:
		return maxPostponed
	case o.OnlyMembersDiffer(r):
		return 1
	}
	return 0
}

const unreadLater = "addresses and routes are checked after the links"

// whileLinksAgree returns a function that is called periodically during a long read. It observes the links again, and
// ends the read if one must be repaired now: the repair of a member does not wait for all routes to be read.
func (k *Kernel) whileLinksAgree(ctx context.Context, r *bond.Record, o *bond.Observed) func() error {
	next := time.Now().Add(k.searchAgain)
	return func() error {
		began := time.Now()
		if began.Before(next) {
			return nil
		}
		now, err := k.linksChanged(ctx, r, o)
		next = time.Now().Add(max(k.searchAgain, slowShare*time.Since(began)))
		if err != nil || now == nil || !now.LinksDiffer() || !k.slow.postpone(r.Key, maxPostponed) {
			return err
		}
		if *o = *now; o.Bond != nil {
			o.Bond.Unread, o.Bond.ReadLater = unreadLater, true
		}
		return errLinksDiffer
	}
}

// linksChanged observes the links again, unless the bond is up and all members are in it as they were, which takes a
// request for each.
func (k *Kernel) linksChanged(ctx context.Context, r *bond.Record, o *bond.Observed) (*bond.Observed, error) {
	if same, err := k.allEnslaved(ctx, r, o); err != nil || same {
		return nil, err
	}
	pod, now, err := k.observeLinks(ctx, r)
	pod.close()
	return &now, err
}

func (k *Kernel) allEnslaved(ctx context.Context, r *bond.Record, o *bond.Observed) (bool, error) {
	pod, err := k.openPod(ctx, r.Sandbox)
	if err != nil {
		return false, ignoreMissing(err)
	}
	defer pod.close()
	d, err := pod.deviceByIndex(o.Bond.Index)
	if err != nil || d == nil || !d.Up {
		return false, err
	}
	for i := range o.Members {
		if o.Members[i].Location != bond.InPod {
			return false, nil
		}
		d, err := pod.deviceByIndex(o.Members[i].Link.Index)
		if err != nil || d == nil || d.Master != o.Bond.Index {
			return false, err
		}
	}
	return true, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, bond.ErrGone) {
		return nil
	}
	return err
}

// observeNetwork reads the addresses and routes of the bond. If the pod changes them so fast that no dump is complete,
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

// confirmUp reads the bond's state again. If it was set down after its link was read, it has lost its routes, which
// must not count as another writer's change.
func (c *conn) confirmUp(o *bond.ObservedBond) error {
	now, err := c.deviceByIndex(o.Index)
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
