package bond

var modeNames = []string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"}

var (
	offOn     = []string{"off", "on"}
	withArp   = []Mode{ModeRoundRobin, ModeActiveBackup, ModeXOR, ModeBroadcast}
	withFirst = []Mode{ModeActiveBackup, ModeTLB, ModeALB}
	onlyLACP  = []Mode{Mode8023AD}
)

const (
	maxInt  = 1<<31 - 1
	maxByte = 1<<8 - 1
)

// defs is the option table. Attr: linux/if_link.h; ranges, modes and When:
// drivers/net/bonding/bond_options.c of Linux 6.12, tried in the lab. It is ordered as
// bond_changelink applies them: monitors before their details, what needs a link last.
var defs = []Def{
	{Name: OptMode, Attr: 1, Kind: KindEnum8, Values: modeNames, When: BondDown | NoMembers},
	{Name: OptMiimon, Attr: 3, Kind: KindUint32, Max: maxInt},
	{Name: OptUpdelay, Attr: 4, Kind: KindUint32, Max: maxInt},
	{Name: OptDowndelay, Attr: 5, Kind: KindUint32, Max: maxInt},
	{Name: OptPeerNotifyDelay, Attr: 28, Kind: KindUint32, Max: 300000},
	{Name: OptUseCarrier, Attr: 6, Kind: KindEnum8, Values: offOn},
	{Name: OptArpInterval, Attr: 7, Kind: KindUint32, Max: maxInt, Modes: withArp},
	{Name: OptArpIPTargets, Attr: 8, Kind: KindIPv4s, Modes: withArp},
	{Name: OptNsIP6Targets, Attr: 31, Kind: KindIPv6s, Modes: withArp},
	{Name: OptArpValidate, Attr: 9, Kind: KindEnum32, Values: []string{"none", "active", "backup", "all", "filter", "filter_active", "filter_backup"}, Modes: withArp},
	{Name: OptArpAllTargets, Attr: 10, Kind: KindEnum32, Values: []string{"any", "all"}},
	{Name: OptArpMissedMax, Attr: 30, Kind: KindUint8, Min: 1, Max: maxByte, Modes: withArp},
	{Name: OptPrimaryReselect, Attr: 12, Kind: KindEnum8, Values: []string{"always", "better", "failure"}},
	{Name: OptFailOverMac, Attr: 13, Kind: KindEnum8, Values: []string{"none", "active", "follow"}, When: NoMembers},
	{Name: OptXmitHashPolicy, Attr: 14, Kind: KindEnum8, Values: []string{"layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"}},
	{Name: OptResendIgmp, Attr: 15, Kind: KindUint32, Max: maxByte},
	{Name: OptNumPeerNotif, Attr: 16, Kind: KindUint8, Max: maxByte},
	{Name: OptAllSlavesActive, Attr: 17, Kind: KindEnum8, Values: offOn},
	{Name: OptMinLinks, Attr: 18, Kind: KindUint32, Max: maxInt},
	{Name: OptLpInterval, Attr: 19, Kind: KindUint32, Min: 1, Max: maxInt},
	{Name: OptPacketsPerSlave, Attr: 20, Kind: KindUint32, Max: 65535, Modes: []Mode{ModeRoundRobin}},
	{Name: OptLacpActive, Attr: 29, Kind: KindEnum8, Values: offOn, Modes: onlyLACP, When: BondDown},
	{Name: OptLacpRate, Attr: 21, Kind: KindEnum8, Values: []string{"slow", "fast"}, Modes: onlyLACP, When: BondDown},
	{Name: OptAdSelect, Attr: 22, Kind: KindEnum8, Values: []string{"stable", "bandwidth", "count"}, When: BondDown},
	{Name: OptAdActorSysPrio, Attr: 24, Kind: KindUint16, Min: 1, Max: 65535, Modes: onlyLACP},
	{Name: OptAdUserPortKey, Attr: 25, Kind: KindUint16, Max: 1023, Modes: onlyLACP, When: BondDown},
	{Name: OptAdActorSystem, Attr: 26, Kind: KindMAC, Modes: onlyLACP},
	{Name: OptTlbDynamicLb, Attr: 27, Kind: KindEnum8, Values: offOn, Modes: []Mode{ModeTLB}, When: BondDown},
	{Name: OptCoupledControl, Attr: 32, Kind: KindEnum8, Values: offOn, Modes: onlyLACP, When: BondDown},
	{Name: OptPrimary, Attr: 11, Kind: KindLink, Modes: withFirst},
	{Name: OptActiveSlave, Attr: 2, Kind: KindLink, Modes: withFirst},
}
