package bond

var modeNames = []string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"}

var (
	offOn            = []string{"off", "on"}
	withArp          = []Mode{ModeRoundRobin, ModeActiveBackup, ModeXOR, ModeBroadcast}
	modesWithPrimary = []Mode{ModeActiveBackup, ModeTLB, ModeALB}
	onlyLACP         = []Mode{Mode8023AD}
	onlyBackup       = []Mode{ModeActiveBackup}
)

const (
	maxInt  = 1<<31 - 1
	maxByte = 1<<8 - 1
)

// optionDefs is the option table. Attr: linux/if_link.h; ranges, modes and Changeable:
// drivers/net/bonding/bond_options.c of Linux 6.12 and 7.3, tested in the lab. It is ordered as
// bond_changelink applies them: monitors before their details, options with a link last.
var optionDefs = []OptionDef{
	{
		Name: OptMode, Attr: 1, Kind: KindEnum8, Values: modeNames, Changeable: BondDown | NoMembers, Default: "balance-rr", Since: "3.14",
		About: "How traffic is distributed over the members.",
	},
	{
		Name: OptMiimon, Attr: 3, Kind: KindUint32, Max: maxInt, Default: "100", Since: "3.14",
		About: "Interval of carrier checks on the members, in ms; 0 disables them. 100 if neither it nor arpInterval is set.",
	},
	{
		Name: OptUpdelay, Attr: 4, Kind: KindUint32, Max: maxInt, Default: "0", Since: "3.14",
		About: "Time from a member's carrier coming back to its use, in ms; rounded down to a multiple of miimon.",
	},
	{
		Name: OptDowndelay, Attr: 5, Kind: KindUint32, Max: maxInt, Default: "0", Since: "3.14",
		About: "Time from a member's loss of carrier until it is disabled, in ms; rounded down to a multiple of miimon.",
	},
	{
		Name: OptPeerNotifyDelay, Attr: 28, Kind: KindUint32, Max: 300000, Default: "0", Since: "5.3",
		About: "Interval between the peer notifications after a failover, in ms; rounded down to a multiple of miimon.",
	},
	{
		Name: OptUseCarrier, Attr: 6, Kind: KindEnum8, Values: offOn, Default: "on", Since: "3.14",
		About: "Whether carrier is what the driver reports; newer kernels accept only on.",
	},
	{
		Name: OptArpInterval, Attr: 7, Kind: KindUint32, Max: maxInt, Modes: withArp, Default: "0", Since: "3.14",
		About: "Interval of ARP and neighbour solicitation monitoring, in ms; 0 disables it. Excludes miimon.",
	},
	{
		Name: OptArpIPTargets, Attr: 8, Kind: KindIPv4s, Modes: withArp, Since: "3.14",
		About: "ARP monitoring targets.",
	},
	{
		Name: OptNsIP6Targets, Attr: 31, Kind: KindIPv6s, Modes: withArp, Since: "5.19",
		About: "Targets of monitoring by neighbour solicitation.",
	},
	{
		Name: OptArpValidate, Attr: 9, Kind: KindEnum32, Values: []string{"none", "active", "backup", "all", "filter", "filter_active", "filter_backup"}, Modes: withArp, Default: "none", Since: "3.14",
		About: "On which members ARP monitoring accepts only valid ARP requests and replies.",
	},
	{
		Name: OptArpAllTargets, Attr: 10, Kind: KindEnum32, Values: []string{"any", "all"}, EffectiveModes: onlyBackup, Default: "any", Since: "3.14",
		About: "Whether a member is up if any target replies, or only if all do.",
	},
	{
		Name: OptArpMissedMax, Attr: 30, Kind: KindUint8, Min: 1, Max: maxByte, Modes: withArp, Default: "2", Since: "5.17",
		About: "Number of intervals without a reply after which a member is down.",
	},
	{
		Name: OptPrimaryReselect, Attr: 12, Kind: KindEnum8, Values: []string{"always", "better", "failure"}, EffectiveModes: modesWithPrimary, Default: "always", Since: "3.14",
		About: "When the primary becomes the active member again after it has recovered.",
	},
	{
		Name: OptFailOverMac, Attr: 13, Kind: KindEnum8, Values: []string{"none", "active", "follow"}, EffectiveModes: onlyBackup, Changeable: NoMembers, Default: "none", Since: "3.14",
		About: "Which MAC the bond and its members use: the same on all; the bond has its active member's; or the active member has the bond's.",
	},
	{
		Name: OptXmitHashPolicy, Attr: 14, Kind: KindEnum8, Values: []string{"layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"}, EffectiveModes: []Mode{ModeXOR, Mode8023AD, ModeTLB, ModeALB}, Default: "layer2", Since: "3.14",
		About: "Which packet fields select the member; vlan+srcmac since 5.12.",
	},
	{
		Name: OptResendIgmp, Attr: 15, Kind: KindUint32, Max: maxByte, EffectiveModes: []Mode{ModeRoundRobin, ModeActiveBackup, ModeTLB, ModeALB}, Default: "1", Since: "3.14",
		About: "Number of IGMP membership reports after a failover, 200 ms apart.",
	},
	{
		Name: OptNumPeerNotif, Attr: 16, Kind: KindUint8, Max: maxByte, EffectiveModes: onlyBackup, Default: "1", Since: "3.14",
		About: "Number of peer notifications (gratuitous ARP, neighbour advertisements) after a failover.",
	},
	{
		Name: OptAllSlavesActive, Attr: 17, Kind: KindEnum8, Values: offOn, Default: "off", Since: "3.14",
		About: "Whether frames received on a backup member are accepted.",
	},
	{
		Name: OptMinLinks, Attr: 18, Kind: KindUint32, Max: maxInt, EffectiveModes: onlyLACP, Default: "0", Since: "3.14",
		About: "Minimum number of members that must be up for the bond to have carrier.",
	},
	{
		Name: OptLpInterval, Attr: 19, Kind: KindUint32, Min: 1, Max: maxInt, EffectiveModes: []Mode{ModeTLB, ModeALB}, Default: "1", Since: "3.14",
		About: "Interval between learning packets to the members' switches, in s.",
	},
	{
		Name: OptPacketsPerSlave, Attr: 20, Kind: KindUint32, Max: 65535, Modes: []Mode{ModeRoundRobin}, Default: "1", Since: "3.14",
		About: "Number of packets sent through a member before the next one is used; 0 selects members at random.",
	},
	{
		Name: OptLacpActive, Attr: 29, Kind: KindEnum8, Values: offOn, Modes: onlyLACP, Changeable: BondDown, Default: "on", Since: "5.15",
		About: "Whether LACP frames are sent periodically.",
	},
	{
		Name: OptLacpRate, Attr: 21, Kind: KindEnum8, Values: []string{"slow", "fast"}, Modes: onlyLACP, Changeable: BondDown, Default: "slow", Since: "3.14",
		About: "Rate at which the partner is requested to send LACP frames: every 30 s or every second.",
	},
	{
		Name: OptAdSelect, Attr: 22, Kind: KindEnum8, Values: []string{"stable", "bandwidth", "count", "actor_port_prio"}, EffectiveModes: onlyLACP, Changeable: BondDown, Default: "stable", Since: "3.14",
		About: "Aggregator selection policy; actor_port_prio since 6.18.",
	},
	{
		Name: OptAdActorSysPrio, Attr: 24, Kind: KindUint16, Min: 1, Max: 65535, Modes: onlyLACP, Default: "65535", Since: "4.2",
		About: "LACP system priority.",
	},
	{
		Name: OptAdUserPortKey, Attr: 25, Kind: KindUint16, Max: 1023, Modes: onlyLACP, Changeable: BondDown, Default: "0", Since: "4.2",
		About: "Upper ten bits of the LACP port key.",
	},
	{
		Name: OptAdActorSystem, Attr: 26, Kind: KindMAC, Modes: onlyLACP, Since: "4.2",
		About: "LACP system MAC; the bond's own if not set.",
	},
	{
		Name: OptTlbDynamicLb, Attr: 27, Kind: KindEnum8, Values: offOn, Modes: []Mode{ModeTLB, ModeALB}, Changeable: BondDown, Default: "on", Since: "3.19",
		About: "Whether flows are moved between members by load (on) or distributed by hash (off).",
	},
	{
		Name: OptCoupledControl, Attr: 32, Kind: KindEnum8, Values: offOn, Modes: onlyLACP, Changeable: BondDown, Default: "on", Since: "6.9",
		About: "Whether the LACP states collecting and distributing change together.",
	},
	{
		Name: OptBroadcastNeigh, Attr: 33, Kind: KindEnum8, Values: offOn, Modes: onlyLACP, Default: "off", Since: "6.17",
		About: "Whether ARP requests and neighbour solicitations are sent through every member, for switches that do not share their tables.",
	},
	{
		Name: OptLacpStrict, Attr: 34, Kind: KindEnum8, Values: offOn, Modes: onlyLACP, Default: "off", Since: "7.2",
		About: "Whether the bond has carrier only while a port is collecting and distributing. One port without a partner counts.",
	},
	{
		Name: OptPrimary, Attr: 11, Kind: KindLink, Modes: modesWithPrimary, Since: "3.14",
		About: "Link that is the active member whenever it is up.",
	},
	{
		Name: OptActiveSlave, Attr: 2, Kind: KindLink, Modes: modesWithPrimary, Since: "3.14",
		About: "Link that is active at first. Once the bond has settled, the kernel chooses.",
	},
}
