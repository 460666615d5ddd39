package watch

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// nsids asks for and gives out the IDs that the host's netns has for others. The kernel
// tells of a netns only to those whose own netns has an ID for it (do_one_broadcast in
// net/netlink/af_netlink.c). An ID cannot be taken back: it ends with the netns, and the lowest
// free one is given to the next.
type nsids interface {
	// self is the ID that the host's netns has of itself; noNSID when it has none.
	self() (int32, error)
	// assign answers the ID of a sandbox's netns and makes sure that it has one. The error
	// matches netns.ErrGone when the sandbox is dead.
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
	// The cookie is not asked for: to hear events of a netns that is another one by now harms nobody.
	ns, err := netns.OpenVerified(s.Path, netns.Identity{ID: netns.ID{Dev: s.Dev, Inode: s.Inode}, Boot: s.Boot})
	if err != nil {
		return noNSID, err
	}
	// Closed at once: an open netns does not die, and its VFs do not come back.
	defer func() { _ = ns.Close() }()
	if id, err := k.get(ns); err != nil || id != noNSID {
		return id, err
	}
	// The answer does not tell the ID that the kernel chose, so it is asked for afterwards. EEXIST: somebody
	// else was quicker, such as the kernel itself, telling of a veth whose peer is in there.
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
