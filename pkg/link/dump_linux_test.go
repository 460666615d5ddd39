package link

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// message is a link message with attributes.
func message(attrs ...*nl.RtAttr) []byte {
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = 7
	b := m.Serialize()
	for _, a := range attrs {
		b = append(b, a.Serialize()...)
	}
	return b
}

func parent(name, bus string) []*nl.RtAttr {
	return []*nl.RtAttr{
		nl.NewRtAttr(iflaParentDevName, nl.ZeroTerminated(name)), nl.NewRtAttr(iflaParentDevBusName, nl.ZeroTerminated(bus)),
	}
}

// TestOnlyPCIDevicesAreVFs: a pod can create devices on other buses and name them.
func TestOnlyPCIDevicesAreVFs(t *testing.T) {
	for _, tc := range []struct {
		name, bus string
		want      bond.PCIAddress
	}{
		{string(someVF), "pci", someVF},
		{string(someVF), "netdevsim", ""},
		{string(someVF), "", ""},
		{"mlx5_core.sf.2", "auxiliary", ""},
		{"virtio3", "pci", ""},
		{"virtio99999", "virtio", ""},
		{string(someVF), "virtio", ""},
		{"", "pci", ""},
	} {
		d, err := parseDevice(message(parent(tc.name, tc.bus)...))
		if err != nil || d.PCI != tc.want {
			t.Errorf("%q on bus %q is %q (%v), want %q", tc.name, tc.bus, d.PCI, err, tc.want)
		}
	}
}

func TestMIIUp(t *testing.T) {
	for _, tc := range []struct {
		master string
		status []byte
		want   bool
	}{
		{"bond", []byte{0}, true},
		{"bond", []byte{2}, false}, // BOND_LINK_DOWN
		{"bridge", []byte{0}, false},
		{"bond", []byte{0, 0}, false},
		{"", []byte{0}, false},
	} {
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		if tc.master != "" {
			info.AddRtAttr(unix.IFLA_INFO_SLAVE_KIND, nl.ZeroTerminated(tc.master))
		}
		info.AddRtAttr(unix.IFLA_INFO_SLAVE_DATA, nil).AddRtAttr(bondSlaveMIIStatus, tc.status)
		d, err := parseDevice(message(info))
		if err != nil || d.member.miiUp != tc.want {
			t.Errorf("member of a %q with status %v: MII up is %t (%v), want %t", tc.master, tc.status, d.member.miiUp, err, tc.want)
		}
	}
}

func TestParseDeviceRejects(t *testing.T) {
	long := message(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("net1")))
	long[unix.SizeofIfInfomsg] = 200 // longer than the message
	short := message(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("net1")))
	short[unix.SizeofIfInfomsg] = 3
	for name, m := range map[string][]byte{"cut": message()[:8], "long": long, "short": short} {
		if d, err := parseDevice(m); err == nil {
			t.Errorf("%s: read as %+v", name, d)
		}
	}
}

// TestInterruptedDumpsAreRepeated, but not for ever.
func TestInterruptedDumpsAreRepeated(t *testing.T) {
	c := newFixture(t).conn()
	for _, tc := range []struct {
		interrupted, want int
		fine              bool
	}{{0, 1, true}, {3, 4, true}, {dumpTries - 1, dumpTries, true}, {1000, dumpTries, false}} {
		n := 0
		err := c.retryInterruptedDump(func() error {
			if n++; n <= tc.interrupted {
				return netlink.ErrDumpInterrupted
			}
			return nil
		})
		if n != tc.want || (err == nil) != tc.fine {
			t.Errorf("interrupted %d times: %v after %d tries, want %d", tc.interrupted, err, n, tc.want)
		}
		if !tc.fine && !errors.Is(classify(err), bond.ErrBusy) {
			t.Errorf("interrupted for ever: %v, want ErrBusy", classify(err))
		}
	}
}

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want error
	}{
		{unix.ENODEV, bond.ErrGone}, {unix.ENXIO, bond.ErrGone}, {unix.EBUSY, bond.ErrBusy}, {unix.EAGAIN, bond.ErrBusy},
		{unix.EOPNOTSUPP, bond.ErrUnsupported}, {unix.EPERM, nil}, {unix.EINVAL, nil}, {unix.EADDRNOTAVAIL, nil},
		{errors.Join(errors.New("which"), unix.ENODEV), bond.ErrGone},
	} {
		got := classify(tc.err)
		if !errors.Is(got, tc.err) || tc.want != nil && !errors.Is(got, tc.want) || tc.want == nil && classified(got) {
			t.Errorf("%v is classified as %q, want %v", tc.err, got, tc.want)
		}
		if again := classify(got); again != got { //nolint:errorlint // the same one, not wrapped twice
			t.Errorf("%v is classified twice: %v", tc.err, again)
		}
	}
	if classify(nil) != nil {
		t.Error("no error is one")
	}
}
