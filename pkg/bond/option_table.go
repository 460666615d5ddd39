package bond

var modeNames = []string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"}

var (
	offOn      = []string{"off", "on"}
	withArp    = []Mode{ModeRoundRobin, ModeActiveBackup, ModeXOR, ModeBroadcast}
	withFirst  = []Mode{ModeActiveBackup, ModeTLB, ModeALB}
	onlyLACP   = []Mode{Mode8023AD}
	onlyBackup = []Mode{ModeActiveBackup}
)

const (
	maxInt  = 1<<31 - 1
	maxByte = 1<<8 - 1
)

// defs is the option table. Attr: linux/if_link.h; ranges, modes and When:
// drivers/net/bonding/bond_options.c of Linux 6.12, tried in the lab. It is ordered as
// bond_changelink applies them: monitors before their details, what needs a link last.
var defs = []Def{
	{
		Name: OptMode, Attr: 1, Kind: KindEnum8, Values: modeNames, When: BondDown | NoMembers, Default: "balance-rr", Since: "3.14",
		About: "How the members share the traffic.",
	},
	{
		Name: OptMiimon, Attr: 3, Kind: KindUint32, Max: maxInt, Default: "100", Since: "3.14",
		About: "How often the members' carrier is looked at, in ms; 0 is never. 100 where neither it nor arpInterval is asked for.",
	},
	{
		Name: OptUpdelay, Attr: 4, Kind: KindUint32, Max: maxInt, Default: "0", Since: "3.14",
		About: "How long a member must have its carrier back before it is used, in ms; rounded down to a multiple of miimon.",
	},
	{
		Name: OptDowndelay, Attr: 5, Kind: KindUint32, Max: maxInt, Default: "0", Since: "3.14",
		About: "How long a member must be without carrier before it is given up, in ms; rounded down to a multiple of miimon.",
	},
	{
		Name: OptPeerNotifyDelay, Attr: 28, Kind: KindUint32, Max: 300000, Default: "0", Since: "5.3",
		About: "The time between two notifications of the neighbours after a failover, in ms; rounded down to a multiple of miimon.",
	},
	{
		Name: OptUseCarrier, Attr: 6, Kind: KindEnum8, Values: offOn, Default: "on", Since: "3.14",
		About: "Whether the carrier is what the driver reports; newer kernels only take on.",
	},
	{
		Name: OptArpInterval, Attr: 7, Kind: KindUint32, Max: maxInt, Modes: withArp, Default: "0", Since: "3.14",
		About: "How often arpIpTargets and nsIp6Targets are asked, in ms; 0 is never. Excludes miimon.",
	},
	{
		Name: OptArpIPTargets, Attr: 8, Kind: KindIPv4s, Modes: withArp, Since: "3.14",
		About: "Whom ARP monitoring asks.",
	},
	{
		Name: OptNsIP6Targets, Attr: 31, Kind: KindIPv6s, Modes: withArp, Since: "5.19",
		About: "Whom monitoring by neighbour solicitation asks.",
	},
	{
		Name: OptArpValidate, Attr: 9, Kind: KindEnum32, Values: []string{"none", "active", "backup", "all", "filter", "filter_active", "filter_backup"}, Modes: withArp, Default: "none", Since: "3.14",
		About: "Which members' ARP traffic must be real answers to count.",
	},
	{
		Name: OptArpAllTargets, Attr: 10, Kind: KindEnum32, Values: []string{"any", "all"}, Acts: onlyBackup, Default: "any", Since: "3.14",
		About: "Whether one answering target is enough for a member to be up.",
	},
	{
		Name: OptArpMissedMax, Attr: 30, Kind: KindUint8, Min: 1, Max: maxByte, Modes: withArp, Default: "2", Since: "5.17",
		About: "How many intervals without an answer make a member down.",
	},
	{
		Name: OptPrimaryReselect, Attr: 12, Kind: KindEnum8, Values: []string{"always", "better", "failure"}, Acts: withFirst, Default: "always", Since: "3.14",
		About: "When the primary becomes the active member again after it came back.",
	},
	{
		Name: OptFailOverMac, Attr: 13, Kind: KindEnum8, Values: []string{"none", "active", "follow"}, Acts: onlyBackup, When: NoMembers, Default: "none", Since: "3.14",
		About: "Whose MAC is whose: one on all, the bond has its active member's, or the active member has the bond's.",
	},
	{
		Name: OptXmitHashPolicy, Attr: 14, Kind: KindEnum8, Values: []string{"layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"}, Acts: []Mode{ModeXOR, Mode8023AD, ModeTLB, ModeALB}, Default: "layer2", Since: "3.14",
		About: "What of a packet chooses its member; vlan+srcmac since 5.12.",
	},
	{
		Name: OptResendIgmp, Attr: 15, Kind: KindUint32, Max: maxByte, Acts: []Mode{ModeRoundRobin, ModeActiveBackup, ModeTLB, ModeALB}, Default: "1", Since: "3.14",
		About: "How many IGMP reports are sent after a failover, 200 ms apart.",
	},
	{
		Name: OptNumPeerNotif, Attr: 16, Kind: KindUint8, Max: maxByte, Acts: onlyBackup, Default: "1", Since: "3.14",
		About: "How many times the neighbours are told after a failover.",
	},
	{
		Name: OptAllSlavesActive, Attr: 17, Kind: KindEnum8, Values: offOn, Default: "off", Since: "3.14",
		About: "Whether frames that arrive on a backup member are let in.",
	},
	{
		Name: OptMinLinks, Attr: 18, Kind: KindUint32, Max: maxInt, Acts: onlyLACP, Default: "0", Since: "3.14",
		About: "How many members must be up for the bond to have a carrier.",
	},
	{
		Name: OptLpInterval, Attr: 19, Kind: KindUint32, Min: 1, Max: maxInt, Acts: []Mode{ModeTLB, ModeALB}, Default: "1", Since: "3.14",
		About: "How often learning packets are sent to the peers' switches, in s.",
	},
	{
		Name: OptPacketsPerSlave, Attr: 20, Kind: KindUint32, Max: 65535, Modes: []Mode{ModeRoundRobin}, Default: "1", Since: "3.14",
		About: "How many packets go out on one member before the next; 0 is at random.",
	},
	{
		Name: OptLacpActive, Attr: 29, Kind: KindEnum8, Values: offOn, Modes: onlyLACP, When: BondDown, Default: "on", Since: "5.15",
		About: "Whether LACP frames are sent unasked.",
	},
	{
		Name: OptLacpRate, Attr: 21, Kind: KindEnum8, Values: []string{"slow", "fast"}, Modes: onlyLACP, When: BondDown, Default: "slow", Since: "3.14",
		About: "How often the partner is asked to send LACP frames: every 30 s or every second.",
	},
	{
		Name: OptAdSelect, Attr: 22, Kind: KindEnum8, Values: []string{"stable", "bandwidth", "count"}, Acts: onlyLACP, When: BondDown, Default: "stable", Since: "3.14",
		About: "Which aggregator is used.",
	},
	{
		Name: OptAdActorSysPrio, Attr: 24, Kind: KindUint16, Min: 1, Max: 65535, Modes: onlyLACP, Default: "65535", Since: "4.2",
		About: "The system's priority in LACP.",
	},
	{
		Name: OptAdUserPortKey, Attr: 25, Kind: KindUint16, Max: 1023, Modes: onlyLACP, When: BondDown, Default: "0", Since: "4.2",
		About: "The upper ten bits of the port key in LACP.",
	},
	{
		Name: OptAdActorSystem, Attr: 26, Kind: KindMAC, Modes: onlyLACP, Since: "4.2",
		About: "The system's MAC in LACP; the bond's own where none is asked.",
	},
	{
		Name: OptTlbDynamicLb, Attr: 27, Kind: KindEnum8, Values: offOn, Modes: []Mode{ModeTLB, ModeALB}, When: BondDown, Default: "on", Since: "3.19",
		About: "Whether flows are moved between members by load, or hashed.",
	},
	{
		Name: OptCoupledControl, Attr: 32, Kind: KindEnum8, Values: offOn, Modes: onlyLACP, When: BondDown, Default: "on", Since: "6.9",
		About: "Whether collecting and distributing change together in LACP.",
	},
	{
		Name: OptPrimary, Attr: 11, Kind: KindLink, Modes: withFirst, Since: "3.14",
		About: "The link that is active whenever it can be.",
	},
	{
		Name: OptActiveSlave, Attr: 2, Kind: KindLink, Modes: withFirst, Since: "3.14",
		About: "The link that is active at first; which one is later is the kernel's choice.",
	},
}
