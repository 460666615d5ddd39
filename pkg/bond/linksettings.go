package bond

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// LinkFlags are those administrative flags of a link that other writers set (IFF_* of linux/if.h).
type LinkFlags uint32

// The flags. MultiCast is set on new links, the others are not.
const (
	FlagNoARP     LinkFlags = 0x80
	FlagPromisc   LinkFlags = 0x100
	FlagAllMulti  LinkFlags = 0x200
	FlagMulticast LinkFlags = 0x1000
	// LinkFlagsLearned is the mask of all these flags.
	LinkFlagsLearned = FlagNoARP | FlagPromisc | FlagAllMulti | FlagMulticast
)

// String lists the flags as ip-link(8) does; "none" if no flag is set.
func (f LinkFlags) String() string {
	var names []string
	for _, n := range []struct {
		flag LinkFlags
		name string
	}{{FlagNoARP, "noarp"}, {FlagPromisc, "promisc"}, {FlagAllMulti, "allmulti"}, {FlagMulticast, "multicast"}} {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ",")
}

// LinkSettings are settings of a link that other writers make: sriov-cni, tuning, the pod's own software. They are
// lost with the netdev, and with every change of its netns. Bondkeeper learns and restores them, and changes none.
type LinkSettings struct {
	// TxQLen is the transmit queue length in packets (IFLA_TXQLEN).
	TxQLen int       `json:"txqlen"`
	Flags  LinkFlags `json:"flags,omitempty"`
	// IPv4 and IPv6 are the link's sysctls in the order of IFLA_INET_CONF and IFLA_INET6_CONF, which is part of the
	// kernel's interface (linux/ip.h, linux/ipv6.h). A kernel without a newer sysctl lists fewer.
	IPv4 []int32 `json:"ipv4,omitempty"`
	IPv6 []int32 `json:"ipv6,omitempty"`
	// Neigh are the sysctls below net.ipv4.neigh and net.ipv6.neigh that differ from what every new link gets. No
	// message has them, so they are read in set-up and after a loss only; nil if they were not read.
	Neigh []Sysctl `json:"neigh,omitempty"`
	// TC are the queueing disciplines of traffic control, by kind: "root qdisc htb", "clsact". They are not restored,
	// as the record does not have what is in them. Nil if they were not read.
	TC []string `json:"tc,omitempty"`
	// MissingTC are those that were lost with an earlier link, and that are still missing. Only recorded settings have
	// them.
	MissingTC []string `json:"missingTC,omitempty"`
	// Ethtool are the settings of ethtool(8). They are not restored either: only their writer knows which of them were
	// set on purpose. Nil if they were not read. EthtoolOf is the ifindex of the link that has them.
	Ethtool   Ethtool `json:"ethtool,omitempty"`
	EthtoolOf int     `json:"ethtoolOf,omitempty"`
	// MissingEthtool are those that an earlier link had and this one does not. Only recorded settings have them.
	MissingEthtool Ethtool `json:"missingEthtool,omitempty"`
}

// Clone returns a copy that shares no memory with s.
func (s LinkSettings) Clone() LinkSettings {
	s.IPv4, s.IPv6, s.Neigh = slices.Clone(s.IPv4), slices.Clone(s.IPv6), slices.Clone(s.Neigh)
	s.TC, s.MissingTC = slices.Clone(s.TC), slices.Clone(s.MissingTC)
	s.Ethtool, s.MissingEthtool = maps.Clone(s.Ethtool), maps.Clone(s.MissingEthtool)
	return s
}

// Equal compares what Diff compares, and what is only named: traffic control and ethtool settings.
func (s LinkSettings) Equal(o LinkSettings) bool {
	return s.Diff(o).Empty() && len(s.IPv4) == len(o.IPv4) && len(s.IPv6) == len(o.IPv6) && slices.Equal(s.Neigh, o.Neigh) && slices.Equal(s.TC, o.TC) &&
		slices.Equal(s.MissingTC, o.MissingTC) && s.equalEthtool(o)
}

// Learn returns the settings that were observed now. What was not read is taken from s.
func (s LinkSettings) Learn(now LinkSettings) LinkSettings {
	now = now.Clone()
	if now.Neigh == nil {
		now.Neigh = slices.Clone(s.Neigh)
	}
	if now.TC == nil {
		now.TC = slices.Clone(s.TC)
	}
	now.MissingTC = s.StillMissing(now)
	s.learnEthtool(&now)
	return now
}

// StillMissing returns the MissingTC that a link does not have now; all of them if that was not read.
func (s LinkSettings) StillMissing(now LinkSettings) (missing []string) {
	for _, name := range s.MissingTC {
		if !slices.Contains(now.TC, name) {
			missing = append(missing, name)
		}
	}
	return missing
}

// Lose takes in that the link was lost, and what it has now.
func (s *LinkSettings) Lose(now LinkSettings) {
	s.MissingTC = slices.Concat(s.MissingTC, s.TC)
	slices.Sort(s.MissingTC)
	s.MissingTC = slices.Compact(s.MissingTC)
	s.MissingTC = s.StillMissing(now)
}

// Sysctl is one setting below net/ipv4/conf/LINK or net/ipv6/conf/LINK, or with Neigh below net/FAMILY/neigh/LINK.
type Sysctl struct {
	// Family is "ipv4" or "ipv6".
	Family string `json:"family"`
	Neigh  bool   `json:"neigh,omitempty"`
	Name   string `json:"name"`
	// Value is as the sysctl's file has it.
	Value int64 `json:"value"`
}

// Dir is the directory of the link's sysctls, "conf" or "neigh".
func (s Sysctl) Dir() string {
	if s.Neigh {
		return "neigh"
	}
	return "conf"
}

// String names it as sysctl(8) does, without the link: "ipv4.conf.arp_notify=1".
func (s Sysctl) String() string {
	return fmt.Sprintf("%s.%s.%s=%d", s.Family, s.Dir(), s.Name, s.Value)
}

// SettingsChange is the difference between two LinkSettings. Nil fields are not changed.
type SettingsChange struct {
	TxQLen  *int
	Flags   *LinkFlags
	Sysctls []Sysctl
}

// Empty reports whether nothing is to be changed.
func (c SettingsChange) Empty() bool { return c.TxQLen == nil && c.Flags == nil && len(c.Sysctls) == 0 }

// String lists the changes.
func (c SettingsChange) String() string {
	var all []string
	if c.TxQLen != nil {
		all = append(all, fmt.Sprintf("txqlen=%d", *c.TxQLen))
	}
	if c.Flags != nil {
		all = append(all, "flags="+c.Flags.String())
	}
	for _, s := range c.Sysctls {
		all = append(all, s.String())
	}
	return strings.Join(all, " ")
}

// Diff returns the change that makes have equal to s. A sysctl that one of them does not list is not compared.
func (s LinkSettings) Diff(have LinkSettings) SettingsChange {
	var c SettingsChange
	if s.TxQLen != have.TxQLen {
		c.TxQLen = &s.TxQLen
	}
	if s.Flags != have.Flags {
		c.Flags = &s.Flags
	}
	c.Sysctls = append(diffSysctls("ipv4", ipv4Sysctls[:], s.IPv4, have.IPv4), diffSysctls("ipv6", ipv6Sysctls[:], s.IPv6, have.IPv6)...)
	for _, want := range s.Neigh {
		if have.Neigh != nil && !slices.Contains(have.Neigh, want) {
			c.Sysctls = append(c.Sysctls, want)
		}
	}
	return c
}

func diffSysctls(family string, table []sysctl, want, have []int32) []Sysctl {
	var out []Sysctl
	for i := range min(len(want), len(have), len(table)) {
		if t := &table[i]; t.name != "" && want[i] != have[i] {
			out = append(out, Sysctl{Family: family, Name: t.name, Value: t.fromList(want[i])})
		}
	}
	return out
}

// Sysctl returns the value of one sysctl; false if s does not list it.
func (s LinkSettings) Sysctl(family, name string) (int64, bool) {
	for _, c := range s.Sysctls() {
		if c.Family == family && c.Name == name {
			return c.Value, true
		}
	}
	return 0, false
}

// SetSysctl changes one sysctl of s. An unknown name, or one beyond what s lists, is an error.
func (s *LinkSettings) SetSysctl(c Sysctl) error {
	if c.Neigh {
		s.Neigh = slices.DeleteFunc(s.Neigh, func(n Sysctl) bool { return n.Family == c.Family && n.Name == c.Name })
		s.Neigh = append(s.Neigh, c)
		slices.SortFunc(s.Neigh, func(a, b Sysctl) int { return strings.Compare(a.String(), b.String()) })
		return nil
	}
	table, values := ipv4Sysctls[:], s.IPv4
	if c.Family == "ipv6" {
		table, values = ipv6Sysctls[:], s.IPv6
	}
	i := slices.IndexFunc(table, func(t sysctl) bool { return t.name == c.Name })
	if i < 0 || i >= len(values) {
		return fmt.Errorf("no sysctl net.%s.conf.LINK.%s here", c.Family, c.Name)
	}
	values[i] = table[i].toList(c.Value)
	return nil
}

// Sysctls lists all values of s that can be written, by name.
func (s LinkSettings) Sysctls() []Sysctl {
	all := func(family string, table []sysctl, values []int32) (out []Sysctl) {
		for i := range min(len(values), len(table)) {
			if t := &table[i]; t.name != "" {
				out = append(out, Sysctl{Family: family, Name: t.name, Value: t.fromList(values[i])})
			}
		}
		return out
	}
	return slices.Concat(all("ipv4", ipv4Sysctls[:], s.IPv4), all("ipv6", ipv6Sysctls[:], s.IPv6), s.Neigh)
}
