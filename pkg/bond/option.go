package bond

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Option is the name of a bonding option in the network config.
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
	OptBroadcastNeigh  Option = "broadcastNeighbor"
	OptLacpStrict      Option = "lacpStrict"
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

// String returns the mode's name in the kernel's spelling, e.g. "active-backup".
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// Changeable is in which state of the bond the kernel accepts a new value
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

// ValueKind is the form of an option's value in a config and in the kernel.
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
	// Modes are those in which the kernel accepts the option; empty means all.
	Modes []Mode
	// EffectiveModes are those in which it also has an effect; empty means all of Modes.
	EffectiveModes []Mode
	Changeable     Changeable
	// Default is the kernel's value if none is requested; empty if there is no default. Only miimon has a default of
	// the plugin's.
	Default string
	// Since is the first kernel version with the option in its netlink interface.
	Since string
	// About describes the option in a sentence.
	About string
}

// ValidIn reports whether the kernel accepts the option in mode m.
func (d *OptionDef) ValidIn(m Mode) bool { return len(d.Modes) == 0 || slices.Contains(d.Modes, m) }

// LookupOption returns the definition of an option; nil if there is no such option.
func LookupOption(name Option) *OptionDef {
	for i := range optionDefs {
		if optionDefs[i].Name == name {
			return &optionDefs[i]
		}
	}
	return nil
}

// OptionDefs returns the definitions of all options, in the order in which they must be set: mode first, members' names
// last. The slice must not be changed.
func OptionDefs() []OptionDef { return optionDefs }

// Options are values of bonding options in their canonical text: a number in
// decimal, an enumeration by name, addresses joined by commas, a link by name. An
// absent option is not requested.
type Options map[Option]string

// Clone returns a copy that shares no memory with o.
func (o Options) Clone() Options { return maps.Clone(o) }

// Names returns the options that have a value, in the order of OptionDefs.
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

// Mode returns the requested mode; balance-rr, the kernel's default, if none is requested.
func (o Options) Mode() Mode {
	return Mode(max(0, slices.Index(modeNames, o[OptMode]))) //nolint:gosec // an index into seven names
}

// UsesPrimary reports whether a bond of this mode has one active member (bond_uses_primary). Such a bond can have a
// primary, and its members have priorities.
func (m Mode) UsesPrimary() bool { return slices.Contains(modesWithPrimary, m) }

// MACFollowsActive reports whether the kernel sets the bond's MAC to that of its active member
// and leaves each member its own: active-backup with failOverMac=active.
func (o Options) MACFollowsActive() bool {
	return o.Mode() == ModeActiveBackup && o[OptFailOverMac] == "active"
}

// SwapsMACs reports whether members swap their MACs when the active one changes.
func (o Options) SwapsMACs() bool {
	mode := o.Mode()
	return mode == ModeTLB || mode == ModeALB || !o.SharesMAC() && !o.MACFollowsActive()
}

// SharesMAC reports whether the kernel sets the bond's MAC on its members: every mode but
// active-backup with failOverMac active or follow.
func (o Options) SharesMAC() bool {
	return o.Mode() != ModeActiveBackup || o[OptFailOverMac] == "" || o[OptFailOverMac] == "none"
}
