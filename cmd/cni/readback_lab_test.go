//go:build lab

package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// names are the names of a bonding option in other tools.
type names struct {
	// ip is the keyword of ip-link(8); empty if this iproute2 has none.
	ip string
	// json is its name in the output of ip -j; file its name in /sys/class/net/BOND/bonding.
	json, file string
}

var others = map[bond.Option]names{
	bond.OptMode:            {"mode", "mode", "mode"},
	bond.OptMiimon:          {"miimon", "miimon", "miimon"},
	bond.OptUpdelay:         {"updelay", "updelay", "updelay"},
	bond.OptDowndelay:       {"downdelay", "downdelay", "downdelay"},
	bond.OptPeerNotifyDelay: {"peer_notify_delay", "peer_notify_delay", "peer_notif_delay"},
	bond.OptUseCarrier:      {"use_carrier", "use_carrier", "use_carrier"},
	bond.OptArpInterval:     {"arp_interval", "arp_interval", "arp_interval"},
	bond.OptArpIPTargets:    {"arp_ip_target", "arp_ip_target", "arp_ip_target"},
	bond.OptNsIP6Targets:    {"ns_ip6_target", "ns_ip6_target", "ns_ip6_target"},
	bond.OptArpValidate:     {"arp_validate", "arp_validate", "arp_validate"},
	bond.OptArpAllTargets:   {"arp_all_targets", "arp_all_targets", "arp_all_targets"},
	bond.OptArpMissedMax:    {"arp_missed_max", "arp_missed_max", "arp_missed_max"},
	bond.OptPrimary:         {"primary", "primary", "primary"},
	bond.OptPrimaryReselect: {"primary_reselect", "primary_reselect", "primary_reselect"},
	bond.OptActiveSlave:     {"active_slave", "active_slave", "active_slave"},
	bond.OptFailOverMac:     {"fail_over_mac", "fail_over_mac", "fail_over_mac"},
	bond.OptXmitHashPolicy:  {"xmit_hash_policy", "xmit_hash_policy", "xmit_hash_policy"},
	bond.OptResendIgmp:      {"resend_igmp", "resend_igmp", "resend_igmp"},
	bond.OptNumPeerNotif:    {"num_grat_arp", "num_peer_notif", "num_grat_arp"},
	bond.OptAllSlavesActive: {"all_slaves_active", "all_slaves_active", "all_slaves_active"},
	bond.OptMinLinks:        {"min_links", "min_links", "min_links"},
	bond.OptLpInterval:      {"lp_interval", "lp_interval", "lp_interval"},
	bond.OptPacketsPerSlave: {"packets_per_slave", "packets_per_slave", "packets_per_slave"},
	bond.OptLacpRate:        {"lacp_rate", "ad_lacp_rate", "lacp_rate"},
	bond.OptLacpActive:      {"lacp_active", "ad_lacp_active", "lacp_active"},
	bond.OptAdSelect:        {"ad_select", "ad_select", "ad_select"},
	bond.OptAdActorSysPrio:  {"ad_actor_sys_prio", "ad_actor_sys_prio", "ad_actor_sys_prio"},
	bond.OptAdUserPortKey:   {"ad_user_port_key", "ad_user_port_key", "ad_user_port_key"},
	bond.OptAdActorSystem:   {"ad_actor_system", "ad_actor_system", "ad_actor_system"},
	bond.OptTlbDynamicLb:    {"tlb_dynamic_lb", "tlb_dynamic_lb", "tlb_dynamic_lb"},
	bond.OptCoupledControl:  {"", "coupled_control", "coupled_control"},
	bond.OptBroadcastNeigh:  {"", "broadcast_neighbor", "broadcast_neighbor"},
	bond.OptLacpStrict:      {"", "lacp_strict", "lacp_strict"},
}

// ipWord is a value as ip accepts it: some switches only as number.
func ipWord(d *bond.OptionDef, value string) string {
	switch d.Name {
	case bond.OptUseCarrier, bond.OptAllSlavesActive, bond.OptTlbDynamicLb:
		return strconv.Itoa(slices.Index(d.Values, value))
	}
	return value
}

// reported is what other tools report about a bond's options, in canonical text: ip, sysfs, and the kernel's own
// message for what neither shows.
type reported struct{ ip, sysfs, raw bond.Options }

func (p *pod) reported(ifName string) reported {
	p.t.Helper()
	t := reported{ip: bond.Options{}, sysfs: bond.Options{}, raw: bond.Options{}}
	links := p.links()
	if links[ifName] == nil {
		p.t.Fatalf("no bond %s", ifName)
	}
	files := p.sysfs(ifName)
	raw := p.raw(ifName)
	for _, d := range bond.OptionDefs() {
		n := others[d.Name]
		if v, ok := links[ifName].LinkInfo.Data[n.json]; ok {
			put(t.ip, &d, jsonText(v))
		}
		if v, ok := files[n.file]; ok {
			put(t.sysfs, &d, fileText(&d, v))
		}
		if v, ok := raw[d.Attr]; ok && len(v) == 1 {
			put(t.raw, &d, fmt.Sprint(v[0]))
		}
	}
	return t
}

// unknownToIP is what an ip(8) that is older than a value shows instead.
const unknownToIP = "UNKNOWN"

func put(o bond.Options, d *bond.OptionDef, text string) {
	if text == "" || text == unknownToIP {
		return
	}
	if canonical, err := d.Parse(text); err == nil {
		text = canonical
	}
	o[d.Name] = text
}

func jsonText(v any) string {
	if list, ok := v.([]any); ok {
		parts := make([]string, len(list))
		for i := range list {
			parts[i] = fmt.Sprint(list[i])
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v)
}

// fileText: files show an enumeration as "active-backup 1" and addresses separated by blanks.
func fileText(d *bond.OptionDef, v string) string {
	fields := strings.Fields(v)
	switch {
	case len(fields) == 0:
		return ""
	case d.Kind == bond.KindIPv4s || d.Kind == bond.KindIPv6s:
		return strings.Join(fields, ",")
	default:
		return fields[0]
	}
}

// sysfs are the files of a bond; a netns shows its own links in a sysfs mounted in it.
func (p *pod) sysfs(ifName string) map[string]string {
	p.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", p.name, "grep", "-s", "", "-r", "/sys/class/net/"+ifName+"/bonding/").Output()
	if len(out) == 0 {
		p.t.Fatalf("sysfs of %s: %v", ifName, err) // grep reports files that cannot be read in this mode
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		files[path[strings.LastIndex(path, "/")+1:]] = value
	}
	return files
}

// raw are the attributes in IFLA_INFO_DATA of a bond.
func (p *pod) raw(ifName string) map[uint16][]byte {
	p.t.Helper()
	var data map[uint16][]byte
	err := p.inside(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(ifName)))
		msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
		if err != nil {
			return err
		}
		attrs, err := rawAttrs(msgs[0][unix.SizeofIfInfomsg:])
		if err != nil {
			return err
		}
		if attrs, err = rawAttrs(attrs[unix.IFLA_LINKINFO]); err != nil {
			return err
		}
		data, err = rawAttrs(attrs[unix.IFLA_INFO_DATA])
		return err
	})
	if err != nil {
		p.t.Fatalf("ask the kernel for %s: %v", ifName, err)
	}
	return data
}

func rawAttrs(b []byte) (map[uint16][]byte, error) {
	list, err := nl.ParseRouteAttr(b)
	attrs := map[uint16][]byte{}
	for _, a := range list {
		attrs[a.Attr.Type] = a.Value
	}
	return attrs, err
}

// inside calls f in the pod's netns.
func (p *pod) inside(f func() error) error {
	ns, err := netns.Open(p.netns)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	return ns.Do(f)
}

// compare counts the tools that report a value for an option, and fails the test for each with another value.
func (t reported) compare(p *pod, o bond.Option, want string, count *tally) {
	p.t.Helper()
	seen := false
	for _, tool := range []struct {
		name    string
		options bond.Options
		count   *int
	}{{"ip", t.ip, &count.ip}, {"sysfs", t.sysfs, &count.sysfs}} {
		got, has := tool.options[o]
		if !has {
			continue
		}
		if seen = true; got != want {
			p.t.Errorf("%s: %s says %q, want %q", o, tool.name, got, want)
			continue
		}
		*tool.count++
	}
	if seen {
		return
	}
	if got := t.raw[o]; got != want {
		p.t.Errorf("%s: neither ip nor sysfs has it; the kernel reports %q, want %q", o, got, want)
		return
	}
	count.raw++
}

// tally counts what was compared.
type tally struct{ bonds, ip, sysfs, raw int }

func (c *tally) String() string {
	return fmt.Sprintf("%d bonds made, checked and deleted; values of options as asked: %d reported by ip, %d by sysfs, %d by the kernel's message alone", c.bonds, c.ip, c.sysfs, c.raw)
}
