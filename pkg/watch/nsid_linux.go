package watch

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// nsids reads and assigns the IDs that the host's netns has for others. The kernel sends events of a netns only to
// netns that have an ID for it (do_one_broadcast in net/netlink/af_netlink.c). An ID cannot be taken back: it ends with
// the netns, and the lowest free one is used for the next.
type nsids interface {
	// self returns the ID of the host's netns in itself, or noNSID.
	self() (int32, error)
	// assign returns the ID of a sandbox's netns and gives it one if it has none. The error matches netns.ErrGone if
	// the sandbox is dead.
	assign(bond.Sandbox) (int32, error)
	close()
}

type kernelNSIDs struct{ handle *netlink.Handle }

func openNSIDs() (nsids, error) {
	// Named, because with no family named one socket for each is opened, which loads modules.
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open an rtnetlink socket for netns IDs: %w", err)
	}
	return kernelNSIDs{h}, nil
}

func (k kernelNSIDs) close() { k.handle.Close() }

func (k kernelNSIDs) self() (int32, error) {
	ns, err := netns.Current()
	if err != nil {
		return noNSID, err
	}
	defer func() { _ = ns.Close() }()
	return k.get(ns)
}

func (k kernelNSIDs) assign(s bond.Sandbox) (int32, error) {
	ns, err := netns.OpenSandbox(s) // the cookie is not compared: events of another netns in its place do no harm
	if err != nil {
		return noNSID, err
	}
	// Closed at once: an open netns does not die, and its VFs do not come back.
	defer func() { _ = ns.Close() }()
	if id, err := k.get(ns); err != nil || id != noNSID {
		return id, err
	}
	// The reply does not contain the ID that the kernel chose, so it is read afterwards. EEXIST: another process was
	// faster, or the kernel itself, which reported a veth whose peer is in there.
	if err := k.handle.SetNetNsIdByFd(ns.Fd(), int(noNSID)); err != nil && !errors.Is(err, unix.EEXIST) {
		return noNSID, fmt.Errorf("give %s a netns ID, without which no event of it arrives: %w", s.Path, err)
	}
	return k.get(ns)
}

func (k kernelNSIDs) get(ns *netns.NS) (int32, error) {
	id, err := k.handle.GetNetNsIdByFd(ns.Fd())
	if err != nil {
		return noNSID, fmt.Errorf("ask for the netns ID of %s: %w", ns.Path(), err)
	}
	return int32(id), nil
}
