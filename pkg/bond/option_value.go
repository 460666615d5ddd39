package bond

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// maxTargets is BOND_MAX_ARP_TARGETS and BOND_MAX_NS_TARGETS of the kernel.
const maxTargets = 16

// Parse turns text as a user writes it (an enumeration by name or by number) into
// the canonical text. The error names the option, the value and the values allowed.
func (d *OptionDef) Parse(text string) (string, error) {
	text = strings.TrimSpace(text)
	canonical, ok := d.parse(text)
	if !ok {
		return "", fmt.Errorf("%s: %.64q is not a value; want %s", d.Name, text, d.AllowedValues())
	}
	return canonical, nil
}

func (d *OptionDef) parse(text string) (string, bool) {
	switch d.Kind {
	case KindEnum8, KindEnum32:
		return d.parseEnum(text)
	case KindIPv4s, KindIPv6s:
		return parseTargets(text, d.Kind == KindIPv4s)
	case KindMAC:
		m, err := ParseMAC(text)
		return string(m), err == nil
	case KindLink:
		return text, ValidateIfName(text) == nil
	default:
		n, err := strconv.ParseUint(text, 10, 32)
		return strconv.FormatUint(n, 10), err == nil && n >= uint64(d.Min) && n <= uint64(d.Max)
	}
}

func (d *OptionDef) parseEnum(text string) (string, bool) {
	if n, err := strconv.Atoi(text); err == nil {
		if n < 0 || n >= len(d.Values) {
			return "", false
		}
		text = d.Values[n]
	}
	if len(d.Values) == len(offOn) && d.Values[1] == "on" {
		switch text {
		case "true":
			text = "on"
		case "false":
			text = "off"
		}
	}
	return text, text != "" && slices.Contains(d.Values, text)
}

func parseTargets(text string, v4 bool) (string, bool) {
	if text == "" {
		return "", true
	}
	parts := strings.Split(text, ",")
	out := make([]string, len(parts))
	for i, p := range parts {
		a, err := netip.ParseAddr(strings.TrimSpace(p))
		if err != nil || a.Is4() != v4 || a.Zone() != "" || !validTarget(a) {
			return "", false
		}
		out[i] = a.String()
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ","), len(out) <= maxTargets
}

// validTarget reports whether the kernel accepts a target (bond_is_ip_target_ok, bond_is_ip6_target_ok). It rejects the
// whole bond for another one.
func validTarget(a netip.Addr) bool {
	if a.Is4() {
		return a.As4()[0] != 0 && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
	}
	return !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast()
}

// AllowedValues describes the values that the option accepts.
func (d *OptionDef) AllowedValues() string {
	switch d.Kind {
	case KindEnum8, KindEnum32:
		return strings.Join(d.Values, ", ") + fmt.Sprintf(" or 0 to %d", len(d.Values)-1)
	case KindIPv4s:
		return fmt.Sprintf("up to %d IPv4 addresses, none in 0.0.0.0/8 and not 255.255.255.255", maxTargets)
	case KindIPv6s:
		return fmt.Sprintf("up to %d IPv6 addresses, neither loopback nor multicast", maxTargets)
	case KindMAC:
		return "a unicast MAC address"
	case KindLink:
		return "the name of one of the links"
	default:
		return fmt.Sprintf("a number from %d to %d", d.Min, d.Max)
	}
}

func modeList(modes []Mode) string {
	names := make([]string, len(modes))
	for i, m := range modes {
		names[i] = m.String()
	}
	return strings.Join(names, ", ")
}
