package link

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// encodeOption is the IFLA_BOND_* attribute that gives an option a value in canonical text.
// indexOf finds a link in the bond's netns by name; it is asked for options that name one.
func encodeOption(d *bond.OptionDef, value string, indexOf func(name string) (int, error)) (*nl.RtAttr, error) {
	if d.Kind == bond.KindLink {
		if value == "" { // ifindex 0 clears it (bond_changelink)
			return nl.NewRtAttr(int(d.Attr), nl.Uint32Attr(0)), nil
		}
		index, err := indexOf(value)
		if err != nil {
			return nil, err
		}
		return nl.NewRtAttr(int(d.Attr), nl.Uint32Attr(uint32(index))), nil
	}
	if canonical, err := d.Parse(value); err != nil || canonical != value {
		return nil, fmt.Errorf("%s: %q is not canonical; want %s", d.Name, value, d.AllowedValues())
	}
	a := nl.NewRtAttr(int(d.Attr), nil)
	switch d.Kind {
	case bond.KindIPv4s, bond.KindIPv6s:
		for i, ip := range targets(value) {
			a.AddRtAttr(i, ip.AsSlice())
		}
	case bond.KindMAC:
		a.Data = bond.MAC(value).Bytes()
	case bond.KindEnum8:
		a.Data = []byte{byte(slices.Index(d.Values, value))}
	case bond.KindEnum32:
		a.Data = nl.Uint32Attr(uint32(slices.Index(d.Values, value)))
	default:
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Name, err)
		}
		a.Data = sized(d.Kind, uint32(n))
	}
	return a, nil
}

// sized is a number in the width that the kernel's policy asks for.
func sized(k bond.ValueKind, n uint32) []byte {
	switch k {
	case bond.KindUint8:
		return []byte{byte(n)}
	case bond.KindUint16:
		return nl.Uint16Attr(uint16(n))
	default:
		return nl.Uint32Attr(n)
	}
}

// targets takes a canonical list of addresses apart.
func targets(value string) []netip.Addr {
	if value == "" {
		return nil
	}
	var ips []netip.Addr
	for s := range strings.SplitSeq(value, ",") {
		if ip, err := netip.ParseAddr(s); err == nil {
			ips = append(ips, ip)
		}
	}
	return ips
}

// decodeOptions reads IFLA_INFO_DATA of a bond. nameOf finds a link in the bond's netns; an
// option that names a link which is not there is left out. Lists of targets that the
// kernel does not send are empty (bond_fill_info drops an empty list). Numbers without a
// name, of a kernel newer than our table, stand as numbers.
func decodeOptions(data []byte, nameOf func(index int) string) (bond.Options, error) {
	o := bond.Options{bond.OptArpIPTargets: "", bond.OptNsIP6Targets: ""}
	err := eachAttr(data, func(typ uint16, v []byte) error {
		d := defByAttr(typ)
		if d == nil {
			return nil
		}
		value, reported, err := decodeOption(d, v, nameOf)
		if err != nil {
			return fmt.Errorf("bonding option %s: %w", d.Name, err)
		}
		if reported {
			o[d.Name] = value
		}
		return nil
	})
	return o, err
}

func defByAttr(attr uint16) *bond.OptionDef {
	defs := bond.OptionDefs()
	if i := slices.IndexFunc(defs, func(d bond.OptionDef) bool { return d.Attr == attr }); i >= 0 {
		return &defs[i]
	}
	return nil
}

func decodeOption(d *bond.OptionDef, v []byte, nameOf func(int) string) (value string, reported bool, err error) {
	switch d.Kind {
	case bond.KindIPv4s, bond.KindIPv6s:
		value, err = decodeTargets(v)
		return value, true, err
	case bond.KindMAC:
		if len(v) != 6 {
			return "", false, fmt.Errorf("%d bytes are not a MAC address", len(v))
		}
		return string(bond.MACOf(v)), true, nil
	}
	if len(v) != 1 && len(v) != 2 && len(v) != 4 {
		return "", false, fmt.Errorf("%d bytes are not a number", len(v))
	}
	n := number(v)
	switch d.Kind {
	case bond.KindLink:
		value = nameOf(int(n))
		return value, value != "", nil
	case bond.KindEnum8, bond.KindEnum32:
		if int(n) < len(d.Values) && d.Values[n] != "" {
			return d.Values[n], true, nil
		}
	}
	return strconv.FormatUint(uint64(n), 10), true, nil
}

// decodeTargets is sorted as canonical text is; the kernel keeps the order of configuration.
func decodeTargets(list []byte) (string, error) {
	var ips []string
	err := eachAttr(list, func(_ uint16, v []byte) error {
		ip, ok := netip.AddrFromSlice(v)
		if !ok {
			return fmt.Errorf("%d bytes are not an IP address", len(v))
		}
		ips = append(ips, ip.String())
		return nil
	})
	slices.Sort(ips)
	return strings.Join(slices.Compact(ips), ","), err
}
