package link

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// featureLRO is left out: the kernel itself turns it off, for a bond, a bridge, or forwarding (dev_disable_lro).
const featureLRO = "rx-lro"

var onOff = map[bool]string{true: "on", false: "off"}

// observeEthtool reads the ethtool settings of bond and members. They are left unread if they cannot be read: no repair
// may fail because of what is only named.
func (c *conn) observeEthtool(r *bond.Record, o *bond.Observed) {
	o.EachEthtool(r, func(l *bond.Link, observed, recorded *bond.LinkSettings) {
		unknown := recorded == nil || recorded.Ethtool == nil
		e, err := c.kernel.ethtool.get(linkKey{c.ns.ID(), l.Index}, unknown, func() (bond.Ethtool, error) { return c.ethtool(l) })
		if err == nil {
			observed.Ethtool, observed.EthtoolOf = maps.Clone(e), l.Index
		}
	})
}

// ethtool reads the ethtool settings of a link. What the driver does not support, or rejects, is left out.
func (c *conn) ethtool(l *bond.Link) (bond.Ethtool, error) {
	e := ethtoolReader{index: l.Index, out: bond.Ethtool{}}
	var err error
	if e.genl, err = c.generic(); err != nil {
		return nil, err
	}
	if e.family, err = e.genl.ethtoolFamily(); err != nil {
		return nil, err
	}
	if err = e.features(); err != nil || l.Kind == "bond" { // which has nothing else
		return e.out, err
	}
	for _, group := range ethtoolGroups {
		if err = e.params(group.name, group.request, group.params); err != nil {
			return nil, err
		}
	}
	dropChosen(e.out)
	return e.out, e.privateFlags()
}

// dropChosen removes what is not a setting while another one is on.
func dropChosen(e bond.Ethtool) {
	for name, chosen := range ethtoolChosen {
		if e[name] == onOff[true] {
			maps.DeleteFunc(e, func(name, _ string) bool { return slices.Contains(chosen, name) })
		}
	}
}

// ethtoolFamily returns the ID of ethtool's family, which is the same in every netns.
func (c *conn) ethtoolFamily() (uint16, error) {
	if id := c.kernel.ethtoolFamily.Load(); id > 0 {
		return uint16(id), nil //nolint:gosec // it was one
	} else if id < 0 {
		return 0, bond.ErrUnsupported
	}
	req := nl.NewNetlinkRequest(nl.GENL_ID_CTRL, 0)
	req.AddData(&nl.Genlmsg{Command: nl.GENL_CTRL_CMD_GETFAMILY, Version: nl.GENL_CTRL_VERSION})
	req.AddData(nl.NewRtAttr(unix.CTRL_ATTR_FAMILY_NAME, nl.ZeroTerminated(unix.ETHTOOL_GENL_NAME)))
	id := uint16(0)
	err := c.attributes(req, nl.GENL_ID_CTRL, func(typ uint16, v []byte) error {
		if typ == unix.CTRL_ATTR_FAMILY_ID {
			id = uint16(number(v)) //nolint:gosec // it has 16 bits
		}
		return nil
	})
	if errors.Is(err, unix.ENOENT) { // a kernel without CONFIG_ETHTOOL_NETLINK
		c.kernel.ethtoolFamily.Store(-1)
	}
	if err == nil {
		c.kernel.ethtoolFamily.Store(int32(id))
	}
	return id, err
}

// attributes sends a request of generic netlink and calls each with every attribute of the response.
func (c *conn) attributes(req *nl.NetlinkRequest, family uint16, each func(typ uint16, v []byte) error) error {
	msgs, err := c.do(req, family)
	if err != nil {
		return err
	}
	for _, m := range msgs {
		if len(m) < nl.SizeofGenlmsg {
			return fmt.Errorf("%w: message of %d bytes", errMalformed, len(m))
		}
		if err = eachAttr(m[nl.SizeofGenlmsg:], each); err != nil {
			return err
		}
	}
	return nil
}

// ethtoolReader reads the settings of one link. It names the link by its ifindex: another one may get its name.
type ethtoolReader struct {
	genl   *conn
	family uint16
	index  int
	out    bond.Ethtool
}

// get makes one request. It is not an error if the driver does not support it or rejects it.
func (e *ethtoolReader) get(request uint8, each func(typ uint16, v []byte) error) error {
	req := nl.NewNetlinkRequest(int(e.family), 0)
	req.AddData(&nl.Genlmsg{Command: request, Version: unix.ETHTOOL_GENL_VERSION})
	const header = 1 // the same for all requests
	link := nl.NewRtAttr(header|unix.NLA_F_NESTED, nil)
	link.AddRtAttr(unix.ETHTOOL_A_HEADER_DEV_INDEX, nl.Uint32Attr(uint32(e.index))) //nolint:gosec // positive
	req.AddData(link)
	err := e.genl.attributes(req, e.family, each)
	if errno, rejected := errors.AsType[unix.Errno](err); rejected && errno != unix.ENODEV && errno != unix.EAGAIN {
		return nil
	}
	return err
}

// set leaves out what a record cannot store: drivers choose the names of their flags.
func (e *ethtoolReader) set(name, value string) {
	if len(e.out) < bond.MaxEthtool && utf8.ValidString(name) {
		e.out[name] = value
	}
}

func (e *ethtoolReader) params(group string, request uint8, params map[uint16]string) error {
	return e.get(request, func(typ uint16, v []byte) error {
		name, known := params[typ]
		switch {
		case known && len(v) == 1:
			e.set(group+" "+name, onOff[v[0] != 0])
		case known:
			e.set(group+" "+name, strconv.FormatUint(uint64(number(v)), 10))
		}
		return nil
	})
}

// features reads which features are requested. Those that are active depend on other features, and on the bond's
// members. A feature that cannot be changed is no setting.
func (e *ethtoolReader) features() error {
	sets := map[uint16]map[string]bool{}
	err := e.get(unix.ETHTOOL_MSG_FEATURES_GET, func(typ uint16, v []byte) (err error) {
		if typ != unix.ETHTOOL_A_FEATURES_HEADER {
			sets[typ], err = bitset(v)
		}
		return err
	})
	for name, changeable := range sets[unix.ETHTOOL_A_FEATURES_HW] { // all that the kernel has
		if changeable && !sets[unix.ETHTOOL_A_FEATURES_NOCHANGE][name] && name != featureLRO {
			e.set("feature "+name, onOff[sets[unix.ETHTOOL_A_FEATURES_WANTED][name]])
		}
	}
	return err
}

func (e *ethtoolReader) privateFlags() error {
	return e.get(unix.ETHTOOL_MSG_PRIVFLAGS_GET, func(typ uint16, v []byte) error {
		if typ != unix.ETHTOOL_A_PRIVFLAGS_FLAGS {
			return nil
		}
		flags, err := bitset(v)
		for name, on := range flags {
			e.set("private flag "+name, onOff[on])
		}
		return err
	})
}

// bitset decodes a set of named bits (Documentation/networking/ethtool-netlink.rst). Without a mask it lists those that
// are set, with one all that exist.
func bitset(b []byte) (map[string]bool, error) {
	bits, all := map[string]bool{}, false
	err := eachAttr(b, func(typ uint16, v []byte) error {
		switch typ {
		case unix.ETHTOOL_A_BITSET_NOMASK:
			all = true
		case unix.ETHTOOL_A_BITSET_BITS:
			return eachAttr(v, func(_ uint16, v []byte) error {
				name, on, err := bit(v)
				bits[name] = on || all
				return err
			})
		}
		return nil
	})
	return bits, err
}

func bit(b []byte) (name string, on bool, err error) {
	err = eachAttr(b, func(typ uint16, v []byte) error {
		switch typ {
		case unix.ETHTOOL_A_BITSET_BIT_NAME:
			name = text(v)
		case unix.ETHTOOL_A_BITSET_BIT_VALUE:
			on = true
		}
		return nil
	})
	return name, on, err
}
