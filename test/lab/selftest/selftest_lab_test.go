//go:build lab

// Package selftest runs in a guest of the lab and checks what the lab promises: cards with VFs, modules that the kernel
// loads on demand, and VFs that work in a bond in another netns.
package selftest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// testTimeout bounds every wait; the longest is for the VFs' carrier, some three seconds after their PF's.
const testTimeout = time.Minute

// load returns the guest's topology with at least the given number of cards, each with a VF.
func load(t *testing.T, cards int) *topology.Topology {
	t.Helper()
	guest, err := topology.Load()
	kit.Must(t, err)
	if len(guest.Cards) < cards {
		t.Skipf("needs %d cards, the guest has %d", cards, len(guest.Cards))
	}
	for _, card := range guest.Cards[:cards] {
		if len(card.VFs) == 0 {
			t.Skip("needs a VF on each card")
		}
	}
	return guest
}

func TestTopologyMatchesGuest(t *testing.T) {
	guest := load(t, 0)
	var name unix.Utsname
	kit.Must(t, unix.Uname(&name))
	if got := unix.ByteSliceToString(name.Release[:]); got != guest.Kernel {
		t.Errorf("the kernel is %s, the topology says %s", got, guest.Kernel)
	}
	for i, card := range guest.Cards {
		for _, f := range append([]topology.Function{card.PF}, card.VFs...) {
			name, err := topology.Netdev(f.PCI)
			if err != nil {
				t.Error(err)
				continue
			}
			link, err := netlink.LinkByName(name)
			if err != nil {
				t.Errorf("card %d: %v", i, err)
				continue
			}
			if name != f.Name || link.Attrs().HardwareAddr.String() != f.MAC {
				t.Errorf("card %d: %s has %s with %s, the topology says %s with %s",
					i, f.PCI, name, link.Attrs().HardwareAddr, f.Name, f.MAC)
			}
		}
		vfs, err := filepath.Glob(filepath.Join("/sys/bus/pci/devices", card.PF.PCI, "virtfn*"))
		if err != nil || len(vfs) != len(card.VFs) {
			t.Errorf("card %d has VFs %v (%v), the topology says %d", i, vfs, err, len(card.VFs))
		}
	}
}

func TestShareIsWritable(t *testing.T) {
	file := filepath.Join(topology.ShareDir, "selftest")
	kit.Must(t, os.WriteFile(file, []byte("written in the guest"), 0o644))
	kit.Must(t, os.Remove(file))
}

// TestVFsBondInNetns moves a VF of each of two cards to a new netns and bonds them there. The first request makes the
// kernel load the bonding module, which shows that it finds modprobe.
func TestVFsBondInNetns(t *testing.T) {
	guest := load(t, 2)
	pod, handle := newNetns(t)
	var members []netlink.Link
	for _, card := range guest.Cards[:2] {
		link, err := netlink.LinkByName(card.VFs[0].Name)
		kit.Must(t, err)
		if err := netlink.LinkSetNsFd(link, int(pod)); err != nil {
			t.Fatalf("move %s: %v", card.VFs[0].Name, err)
		}
		members = append(members, link)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "bond0"
	bond := netlink.NewLinkBond(attrs)
	bond.Mode, bond.Miimon, bond.FailOverMac = netlink.BOND_MODE_ACTIVE_BACKUP, 100, netlink.BOND_FAIL_OVER_MAC_ACTIVE
	if err := handle.LinkAdd(bond); err != nil {
		t.Fatalf("make a bond: %v", err)
	}
	made, err := handle.LinkByName("bond0")
	kit.Must(t, err)
	for _, member := range members {
		if err := handle.LinkSetMasterByIndex(member, made.Attrs().Index); err != nil {
			t.Fatalf("enslave %s: %v", member.Attrs().Name, err)
		}
	}
	kit.Must(t, handle.LinkSetUp(made))
	awaitCarrier(t, pod, handle, "bond0", members[0].Attrs().Name, members[1].Attrs().Name)
}

// newNetns makes a netns and returns it with a handle for its links. Both are deleted with the test; the kernel then
// returns the VFs to the host.
func newNetns(t *testing.T) (netns.NsHandle, *netlink.Handle) {
	t.Helper()
	pod, err := netns.GetFromPath(netnstest.New(t))
	kit.Must(t, err)
	t.Cleanup(func() { _ = pod.Close() })
	handle, err := netlink.NewHandleAt(pod, unix.NETLINK_ROUTE)
	kit.Must(t, err)
	t.Cleanup(handle.Close)
	return pod, handle
}

// awaitCarrier waits until all links have a carrier.
func awaitCarrier(t *testing.T, pod netns.NsHandle, handle *netlink.Handle, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	updates, done := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	defer close(done)
	kit.Must(t, netlink.LinkSubscribeAt(pod, updates, done))
	for {
		missing := ""
		for _, name := range names {
			link, err := handle.LinkByName(name)
			kit.Must(t, err)
			if link.Attrs().RawFlags&unix.IFF_LOWER_UP == 0 {
				missing = name
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-updates:
		case <-ctx.Done():
			t.Fatalf("%s has no carrier after %v", missing, testTimeout)
		}
	}
}
