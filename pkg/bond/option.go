package bond

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Option is the name of a bonding option as it stands in the network config.
type Option string

// The options of the kernel's bond netlink interface (IFLA_BOND_*, linux/if_link.h).
const (
	OptMode            Option = "mode"
	OptMiimon          Option = "miimon"
	OptUpdelay         Option = "updelay"
	OptDowndelay       Option = "downdelay"
	OptPeerNotifyDelay Option = "peerNotifyDelay"
	OptUseCarrier      Option = "useCarrier"
	OptArpInterval     Option = "arpInterval"
	OptArpIPTargets    Option = "arpIpTargets"
	OptNsIP6Targets    Option = "nsIp6Targets"
	OptArpValidate     Option = "arpValidate"
	OptArpAllTargets   Option = "arpAllTargets"
	OptArpMissedMax    Option = "arpMissedMax"
	OptPrimary         Option = "primary"
	OptPrimaryReselect Option = "primaryReselect"
	OptActiveSlave     Option = "activeSlave"
	OptFailOverMac     Option = "failOverMac"
	OptXmitHashPolicy  Option = "xmitHashPolicy"
	OptResendIgmp      Option = "resendIgmp"
	OptNumPeerNotif    Option = "numPeerNotif"
	OptAllSlavesActive Option = "allSlavesActive"
	OptMinLinks        Option = "minLinks"
	OptLpInterval      Option = "lpInterval"
	OptPacketsPerSlave Option = "packetsPerSlave"
	OptLacpRate        Option = "lacpRate"
	OptLacpActive      Option = "lacpActive"
	OptAdSelect        Option = "adSelect"
	OptAdActorSysPrio  Option = "adActorSysPrio"
	OptAdUserPortKey   Option = "adUserPortKey"
	OptAdActorSystem   Option = "adActorSystem"
	OptTlbDynamicLb    Option = "tlbDynamicLb"
	OptCoupledControl  Option = "coupledControl"
)

// Mode is a bonding mode by the kernel's number (BOND_MODE_*, linux/if_bonding.h).
type Mode uint8

// The kernel's bonding modes.
const (
	ModeRoundRobin Mode = iota
	ModeActiveBackup
	ModeXOR
	ModeBroadcast
	Mode8023AD
	ModeTLB
	ModeALB
)

// String is the mode's name as the kernel spells it, e.g. "active-backup".
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// Changeable says in which state of the bond the kernel takes a new value
// (bond_options.c, BOND_OPTFLAG_*).
type Changeable uint8

const (
	// Live: at any time.
	Live Changeable = 0
	// BondDown: only while the bond is administratively down.
	BondDown Changeable = 1 << 0
	// NoMembers: only while the bond has no member.
	NoMembers Changeable = 1 << 1
)

// ValueKind says how an option's value is written in a config and held by the kernel.
type ValueKind uint8

// The kinds of value.
const (
	KindUint8 ValueKind = iota
	KindUint16
	KindUint32
	KindEnum8  // one of OptionDef.Values, an 8-bit number in the kernel
	KindEnum32 // one of OptionDef.Values, a 32-bit number in the kernel
	KindIPv4s  // up to 16 addresses, joined by commas
	KindIPv6s  // up to 16 addresses, joined by commas
	KindMAC
	KindLink // name of a member in the pod; the kernel holds its ifindex
)

// OptionDef describes one option.
type OptionDef struct {
	Name Option
	// Attr is the option's number in the kernel's netlink interface (IFLA_BOND_*).
	Attr uint16
	Kind ValueKind
	// Values are the names of an enumeration, by number. Empty names are not allowed values.
	Values []string
	// Min and Max bound a number, both included.
	Min, Max uint32
	// Modes are those in which the kernel takes the option; none means all.
	Modes []Mode
	// EffectiveModes are those in which it also means something; none means all of Modes.
	EffectiveModes []Mode
	Changeable     Changeable
	// Default is the kernel's value where none is asked; empty for none. Miimon alone has
	// one of the plugin's, as today's plugin has.
	Default string
	// Since is the first kernel version with the option in its netlink interface.
	Since string
	// About says in a sentence what the option does.
	About string
}

// ValidIn reports whether the kernel takes the option in mode m.
func (d *OptionDef) ValidIn(m Mode) bool { return len(d.Modes) == 0 || slices.Contains(d.Modes, m) }

// LookupOption finds the description of an option; nil when there is no such option.
func LookupOption(name Option) *OptionDef {
	for i := range optionDefs {
		if optionDefs[i].Name == name {
			return &optionDefs[i]
		}
	}
	return nil
}

// OptionDefs are the descriptions of all options in the order in which the kernel wants
// them set: mode first, members' names last. The slice must not be changed.
func OptionDefs() []OptionDef { return optionDefs }

// Options are values of bonding options in their canonical text: a number in
// decimal, an enumeration by name, addresses joined by commas, a link by name. An
// option that is absent is one that nobody asked for.
type Options map[Option]string

// Clone is a copy that shares nothing with o.
func (o Options) Clone() Options { return maps.Clone(o) }

// Names are the options that have a value, in the order of OptionDefs.
func (o Options) Names() []Option {
	names := make([]Option, 0, len(o))
	for i := range optionDefs {
		if _, set := o[optionDefs[i].Name]; set {
			names = append(names, optionDefs[i].Name)
		}
	}
	return names
}

// String lists the options as "mode=active-backup miimon=100", in the order of OptionDefs.
func (o Options) String() string {
	var b strings.Builder
	for i, n := range o.Names() {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%s", n, o[n])
	}
	return b.String()
}

// Mode is the wanted mode; balance-rr, the kernel's default, where none is asked.
func (o Options) Mode() Mode {
	return Mode(max(0, slices.Index(modeNames, o[OptMode]))) //nolint:gosec // an index into seven names
}

// UsesPrimary reports whether a bond of this mode has one active member (bond_uses_primary): it knows
// a primary, and its members have priorities.
func (m Mode) UsesPrimary() bool { return slices.Contains(modesWithPrimary, m) }

// MACFollowsActive reports whether the kernel gives the bond the MAC of its active member
// and leaves each member its own: active-backup with failOverMac=active.
func (o Options) MACFollowsActive() bool {
	return o.Mode() == ModeActiveBackup && o[OptFailOverMac] == "active"
}

// SwapsMACs reports whether members exchange their MACs when the active one changes.
func (o Options) SwapsMACs() bool {
	mode := o.Mode()
	return mode == ModeTLB || mode == ModeALB || !o.SharesMAC() && !o.MACFollowsActive()
}

// SharesMAC reports whether the kernel puts the bond's MAC on its members: every mode but
// active-backup with failOverMac active or follow.
func (o Options) SharesMAC() bool {
	return o.Mode() != ModeActiveBackup || o[OptFailOverMac] == "" || o[OptFailOverMac] == "none"
}
