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

// encodeOption returns the IFLA_BOND_* attribute for an option's canonical value.
// indexOf returns the ifindex of a link in the bond's netns, for options that name a link.
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

// sized encodes a number in the width of the kernel's policy.
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

// targets splits a canonical list of addresses.
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

// decodeOptions decodes IFLA_INFO_DATA of a bond. nameOf returns the name of a link in the bond's netns; an option with
// a missing link is left out. Lists of targets that the kernel does not send are empty (bond_fill_info leaves out an
// empty list). Values of a newer kernel that are not in the table remain numbers.
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

// decodeTargets sorts the addresses as canonical text does; the kernel has them in the order of configuration.
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
