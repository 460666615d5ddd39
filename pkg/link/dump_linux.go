package link

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/virtiopci"
)

// Attributes of linux/if_link.h and linux/rtnetlink.h that the netlink library does not name.
const (
	iflaParentDevName    = 56
	iflaParentDevBusName = 57
	extSkipStats         = 1 << 3
	attrTypeMask         = 0x3fff // NLA_TYPE_MASK
)

// device is the content of one RTM_NEWLINK message.
type device struct {
	bond.Link
	altNames []string
	// portName is IFLA_PHYS_PORT_NAME; it distinguishes representors, whose parent is the PF, from the PF's own netdev.
	portName string
	loopback bool
	// lower is the ifindex of the link below this one (IFLA_LINK), such as a macvlan's; 0 if that is in another
	// netns.
	lower    int
	settings bond.LinkSettings
	// qdisc is the kind of the root queueing discipline (IFLA_QDISC).
	qdisc string
	// data is IFLA_INFO_DATA: for a bond, its options.
	data   []byte
	member membership
	// afSpec is IFLA_AF_SPEC, which has the link's sysctls.
	afSpec []byte
	// numVFs and vfList are IFLA_NUM_VF and IFLA_VFINFO_LIST, if they were requested.
	numVFs int
	vfList []byte
}

// named reports whether the name is the device's own or an alternative one. Both are unique in a netns.
func (d *device) named(name string) bool { return d.Name == name || slices.Contains(d.altNames, name) }

// devices are some links of one netns.
type devices []*device

func (ds devices) find(match func(*device) bool) *device {
	if i := slices.IndexFunc(ds, match); i >= 0 {
		return ds[i]
	}
	return nil
}

func (ds devices) byIndex(index int) *device {
	return ds.find(func(d *device) bool { return d.Index == index })
}

// ofPCI returns the netdev of a PCI function; nil if there is none. If there are several, none is chosen, and ambiguous
// names them. Representors are not netdevs of their parent.
func (ds devices) ofPCI(pci bond.PCIAddress) (d *device, ambiguous string) {
	var names []string
	for _, other := range ds {
		if other.PCI == pci && !representor.MatchString(other.portName) {
			d = other
			names = append(names, other.Name)
		}
	}
	if len(names) > 1 {
		return nil, strings.Join(names, ", ")
	}
	return d, ""
}

// nameOf returns the name of the link with an ifindex; empty if there is none.
func (ds devices) nameOf(index int) string {
	if d := ds.byIndex(index); d != nil {
		return d.Name
	}
	return ""
}

// linkRequest requests one link, or with NLM_F_DUMP all, without statistics. For VF information the driver queries the
// card about each VF, so it is requested only where it is used.
func linkRequest(flags int, index int, withVFs bool) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, flags)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	mask := uint32(extSkipStats)
	if withVFs {
		mask |= nl.RTEXT_FILTER_VF
	}
	req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(mask)))
	return req
}

// byIndex reads one link; bond.ErrGone if there is none.
func (c *conn) byIndex(index int, withVFs bool) (*device, error) {
	if index <= 0 {
		return nil, fmt.Errorf("%w: there is no ifindex %d", bond.ErrStale, index)
	}
	d, err := c.one(linkRequest(0, index, withVFs))
	if err != nil {
		return nil, fmt.Errorf("link with ifindex %d %s: %w", index, c.place, err)
	}
	return d, nil
}

// byName reads one link by its name or one of its alternative names; bond.ErrGone if
// there is none.
func (c *conn) byName(name string, withVFs bool) (*device, error) {
	req := linkRequest(0, 0, withVFs)
	attr := unix.IFLA_IFNAME
	if len(name) > bond.MaxIfNameLen {
		attr = unix.IFLA_ALT_IFNAME // older kernels do not have it
	}
	req.AddData(nl.NewRtAttr(attr, nl.ZeroTerminated(name)))
	d, err := c.one(req)
	if err != nil {
		return nil, fmt.Errorf("link %s %s: %w", name, c.place, err)
	}
	return d, nil
}

func (c *conn) one(req *nl.NetlinkRequest) (*device, error) {
	msgs, err := c.do(req, unix.RTM_NEWLINK)
	switch {
	case err != nil:
		return nil, classify(err)
	case len(msgs) != 1:
		return nil, fmt.Errorf("%w: the kernel sent %d messages, want one", bond.ErrBusy, len(msgs))
	}
	return parseDevice(msgs[0])
}

func parseDevice(m []byte) (*device, error) {
	if len(m) < unix.SizeofIfInfomsg {
		return nil, fmt.Errorf("link message of %d bytes is too short", len(m))
	}
	info := nl.DeserializeIfInfomsg(m)
	d := &device{Link: bond.Link{
		Index:   int(info.Index),
		Up:      info.Flags&unix.IFF_UP != 0,
		Carrier: info.Flags&unix.IFF_LOWER_UP != 0,
	}, loopback: info.Flags&unix.IFF_LOOPBACK != 0, settings: bond.LinkSettings{Flags: bond.LinkFlags(info.Flags) & bond.LinkFlagsLearned}}
	var bus, parent string
	elsewhere := false
	err := eachAttr(m[info.Len():], func(typ uint16, v []byte) error {
		switch typ {
		case unix.IFLA_IFNAME:
			d.Name = text(v)
		case unix.IFLA_ADDRESS:
			d.MAC = bond.MACOf(v)
		case unix.IFLA_PERM_ADDRESS:
			d.PermMAC = bond.MACOf(v)
		case unix.IFLA_IFALIAS:
			d.Alias = text(v)
		case unix.IFLA_PHYS_PORT_NAME:
			d.portName = text(v)
		case unix.IFLA_MTU:
			d.MTU = int(number(v))
		case unix.IFLA_MASTER:
			d.Master = int(number(v))
		case unix.IFLA_LINK:
			d.lower = int(number(v))
		case unix.IFLA_LINK_NETNSID:
			elsewhere = true
		case unix.IFLA_TXQLEN:
			d.settings.TxQLen = int(number(v))
		case unix.IFLA_QDISC:
			d.qdisc = text(v)
		case unix.IFLA_AF_SPEC:
			d.afSpec = v
		case unix.IFLA_NUM_VF:
			d.numVFs = int(number(v))
		case unix.IFLA_VFINFO_LIST:
			d.vfList = v
		case iflaParentDevName:
			parent = text(v)
		case iflaParentDevBusName:
			bus = text(v)
		case unix.IFLA_PROP_LIST:
			return d.parseAltNames(v)
		case unix.IFLA_LINKINFO:
			return d.parseInfo(v)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("link with ifindex %d: %w", d.Index, err)
	}
	if elsewhere {
		d.lower = 0
	}
	d.PCI = functionOf(bus, parent)
	return d, nil
}

// functionOf returns the PCI function of a link's device. The device's name is a PCI address only if the bus is PCI; a
// pod can create netdevs on other buses, but not virtio devices.
func functionOf(bus, device string) bond.PCIAddress {
	switch bus {
	case "pci":
		if pci, err := bond.ParsePCIAddress(device); err == nil {
			return pci
		}
	case virtiopci.Bus:
		return virtiopci.Function(device)
	}
	return ""
}

func (d *device) parseAltNames(list []byte) error {
	return eachAttr(list, func(typ uint16, v []byte) error {
		if typ == unix.IFLA_ALT_IFNAME {
			d.altNames = append(d.altNames, text(v))
		}
		return nil
	})
}

func (d *device) parseInfo(info []byte) error {
	var masterKind string
	var member []byte
	err := eachAttr(info, func(typ uint16, v []byte) error {
		switch typ {
		case unix.IFLA_INFO_KIND:
			d.Kind = text(v)
		case unix.IFLA_INFO_DATA:
			d.data = v
		case unix.IFLA_INFO_SLAVE_KIND:
			masterKind = text(v)
		case unix.IFLA_INFO_SLAVE_DATA:
			member = v
		}
		return nil
	})
	if err != nil || masterKind != "bond" {
		return err
	}
	return d.member.parse(member)
}

// errMalformed is a netlink message whose lengths contradict each other.
var errMalformed = errors.New("malformed netlink message")

// eachAttr calls f for each attribute of a netlink payload, until f returns an error.
func eachAttr(b []byte, f func(typ uint16, value []byte) error) error {
	for len(b) >= unix.SizeofNlAttr {
		size, typ := int(nl.NativeEndian().Uint16(b)), nl.NativeEndian().Uint16(b[2:])
		if size < unix.SizeofNlAttr || size > len(b) {
			return fmt.Errorf("%w: attribute %d of %d bytes among %d", errMalformed, typ, size, len(b))
		}
		if err := f(typ&attrTypeMask, b[unix.SizeofNlAttr:size]); err != nil {
			return err
		}
		b = b[min(aligned(size), len(b)):]
	}
	return nil
}

// text decodes a string attribute, which may or may not end with NUL.
func text(v []byte) string {
	if i := slices.Index(v, 0); i >= 0 {
		v = v[:i]
	}
	return string(v)
}

// number decodes an unsigned attribute of 1, 2 or 4 bytes; 0 for any other length.
func number(v []byte) uint32 {
	switch len(v) {
	case 1:
		return uint32(v[0])
	case 2:
		return uint32(nl.NativeEndian().Uint16(v))
	case 4:
		return nl.NativeEndian().Uint32(v)
	}
	return 0
}
