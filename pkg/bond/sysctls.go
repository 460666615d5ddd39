package bond

// sysctl is one position in the kernel's list of a link's sysctls.
type sysctl struct {
	// name is the file's; empty if it cannot be written or follows from another setting.
	name string
	// per is the number of the list's units per unit of the file; 0 means 1.
	per int32
	// unsigned: the list's 32 bits have no sign.
	unsigned bool
}

func (s *sysctl) unit() int32 { return max(s.per, 1) }

// fromList converts a value of the list to the file's, toList the reverse.
func (s *sysctl) fromList(v int32) int64 {
	if s.unsigned {
		return int64(uint32(v)) //nolint:gosec // the same bits
	}
	return int64(v / s.unit())
}

func (s *sysctl) toList(v int64) int32 { return int32(v) * s.unit() } //nolint:gosec // it came from 32 bits

// ipv4Sysctls are in the order of IPV4_DEVCONF_* (linux/ip.h), which begins with 1 at position 0.
var ipv4Sysctls = [...]sysctl{
	{name: "forwarding"}, {}, {name: "proxy_arp"}, {name: "accept_redirects"}, {name: "secure_redirects"},
	{name: "send_redirects"}, {name: "shared_media"}, {name: "rp_filter"}, {name: "accept_source_route"},
	{name: "bootp_relay"}, {name: "log_martians"}, {name: "tag"}, {name: "arp_filter"}, {name: "medium_id"},
	{name: "disable_xfrm"}, {name: "disable_policy"}, {name: "force_igmp_version"}, {name: "arp_announce"},
	{name: "arp_ignore"}, {name: "promote_secondaries"}, {name: "arp_accept"}, {name: "arp_notify"},
	{name: "accept_local"}, {name: "src_valid_mark"}, {name: "proxy_arp_pvlan"}, {name: "route_localnet"},
	{name: "igmpv2_unsolicited_report_interval"}, {name: "igmpv3_unsolicited_report_interval"},
	{name: "ignore_routes_with_linkdown"}, {name: "drop_unicast_in_l2_multicast"}, {name: "drop_gratuitous_arp"},
	{name: "bc_forwarding"}, {name: "arp_evict_nocarrier"},
}

// second is for files in seconds whose list entry is in milliseconds (ipv6_store_devconf).
const second = 1000

// ipv6Sysctls are in the order of DEVCONF_* (linux/ipv6.h). The MTU follows the link's, the stable secret is a text
// that the list has not.
var ipv6Sysctls = [...]sysctl{
	{name: "forwarding"}, {name: "hop_limit"}, {}, {name: "accept_ra"}, {name: "accept_redirects"}, {name: "autoconf"},
	{name: "dad_transmits"}, {name: "router_solicitations"}, {name: "router_solicitation_interval", per: second},
	{name: "router_solicitation_delay", per: second}, {name: "use_tempaddr"}, {name: "temp_valid_lft"},
	{name: "temp_prefered_lft"}, //nolint:misspell // the kernel's spelling
	{name: "regen_max_retry"}, {name: "max_desync_factor"}, {name: "max_addresses"},
	{name: "force_mld_version"}, {name: "accept_ra_defrtr"}, {name: "accept_ra_pinfo"}, {name: "accept_ra_rtr_pref"},
	{name: "router_probe_interval", per: second}, {name: "accept_ra_rt_info_max_plen"}, {name: "proxy_ndp"},
	{name: "optimistic_dad"}, {name: "accept_source_route"}, {}, {name: "disable_ipv6"}, {name: "accept_dad"},
	{name: "force_tllao"}, {name: "ndisc_notify"}, {name: "mldv1_unsolicited_report_interval"},
	{name: "mldv2_unsolicited_report_interval"}, {name: "suppress_frag_ndisc"}, {name: "accept_ra_from_local"},
	{name: "use_optimistic"}, {name: "accept_ra_mtu"}, {}, {name: "use_oif_addrs_only"},
	{name: "accept_ra_min_hop_limit"}, {name: "ignore_routes_with_linkdown"}, {name: "drop_unicast_in_l2_multicast"},
	{name: "drop_unsolicited_na"}, {name: "keep_addr_on_down"}, {name: "router_solicitation_max_interval", per: second},
	{name: "seg6_enabled"}, {name: "seg6_require_hmac"}, {name: "enhanced_dad"}, {name: "addr_gen_mode"},
	{name: "disable_policy"}, {name: "accept_ra_rt_info_min_plen"}, {name: "ndisc_tclass"}, {name: "rpl_seg_enabled"},
	{name: "ra_defrtr_metric"}, {name: "ioam6_enabled"}, {name: "ioam6_id"}, {name: "ioam6_id_wide", unsigned: true},
	{name: "ndisc_evict_nocarrier"}, {name: "accept_untracked_na"}, {name: "accept_ra_min_lft"}, {name: "force_forwarding"},
}
