//go:build lab

package chains

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// chain is what surrounds a bond in a pod.
type chain struct {
	name string
	// bond are fields of the bond's config.
	bond string
	// afterVF and afterBond are the plugins that follow host-device and bond in their chains.
	afterVF, afterBond []string
	// onTop are separate networks whose links are on top of the bond, by interface name.
	onTop map[string][]string
	// sysctls are compared, too: paths below /proc/sys/net.
	sysctls []string
	// oneMAC: all members have the bond's MAC.
	oneMAC bool
	// want are facts that the other plugins establish.
	want facts
}

const (
	activeBackup = `"mode":1,"failOverMac":1`
	// static has a number in its addresses that differs between pods, because all pods are on one network.
	static = `"ipam":{"type":"static","addresses":[{"address":"192.0.2.10N/24","gateway":"192.0.2.1"},{"address":"2001:db8::N/64"}],
		"routes":[{"dst":"0.0.0.0/0"},{"dst":"198.51.100.0/24","gw":"192.0.2.2"}]}`
	tuningSysctls = `"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1","net.ipv4.conf.IFNAME.rp_filter":"2",
		"net.ipv6.conf.IFNAME.accept_ra":"0"}`
)

var (
	bondSysctls = []string{"ipv4/conf/bond0/arp_filter", "ipv4/conf/bond0/rp_filter", "ipv6/conf/bond0/accept_ra"}
	vfSysctls   = []string{"ipv4/conf/net1/arp_notify", "ipv4/conf/net2/arp_notify", "ipv6/conf/net1/ndisc_notify", "ipv6/conf/net2/ndisc_notify"}
)

// movedBySBR: sbr moves each route of the bond to the table of its source address.
var movedBySBR = facts{"route default dev bond0 gateway 192.0.2.1 scope global": "", "route default dev bond0 gateway 192.0.2.1 scope global table 100": "present"}

// chains are the chains before, with and on the bond.
func chains() []chain {
	return []chain{
		{
			name: "bond, tuning with everything", bond: `"mode":2,` + static, oneMAC: true, sysctls: bondSysctls,
			want: facts{"bond0 mtu": "1400", "bond0 mac": "02:00:00:00:77:01", "net1 mac": "02:00:00:00:77:01", "net2 mac": "02:00:00:00:77:01", "bond0 txqlen": "777",
				"bond0 allmulti": "true", "bond0 promisc": "true", "net1 mtu": "1400", "net2 mtu": "1400", "sysctl ipv4/conf/bond0/arp_filter": "1", "sysctl ipv4/conf/bond0/rp_filter": "2",
				"sysctl ipv6/conf/bond0/accept_ra": "0"},
			afterBond: []string{`{"type":"tuning","mtu":1400,"mac":"02:00:00:00:77:01","txQLen":777,"allmulti":true,"promisc":true,` + tuningSysctls + `}`},
		},
		{name: "bond, sbr", bond: activeBackup + `,` + static, afterBond: []string{`{"type":"sbr"}`}, want: movedBySBR},
		{
			name: "bond, tuning, sbr", bond: activeBackup + `,` + static, sysctls: bondSysctls,
			afterBond: []string{`{"type":"tuning","mtu":1450,` + tuningSysctls + `}`, `{"type":"sbr"}`},
			want:      facts{"bond0 mtu": "1450", "sysctl ipv4/conf/bond0/arp_filter": "1", "route default dev bond0 gateway 192.0.2.1 scope global": "", "route default dev bond0 gateway 192.0.2.1 scope global table 100": "present"},
		},
		{name: "bond, vrf", bond: activeBackup + `,` + static, afterBond: []string{`{"type":"vrf","vrfname":"blue","table":500}`},
			want: facts{"bond0 master": "blue"}},
		{
			name: "bond, tuning, vrf", bond: activeBackup + `,` + static, sysctls: bondSysctls, // vrf sets the bond down and up
			afterBond: []string{`{"type":"tuning","mtu":1450,` + tuningSysctls + `}`, `{"type":"vrf","vrfname":"blue","table":500}`},
			want:      facts{"bond0 mtu": "1450", "bond0 master": "blue", "sysctl ipv4/conf/bond0/arp_filter": "1"},
		},
		{
			name: "host-device, tuning; bond", bond: activeBackup + `,` + static, sysctls: vfSysctls,
			afterVF: []string{`{"type":"tuning","mtu":1400,"txQLen":555,"sysctl":{"net.ipv4.conf.IFNAME.arp_notify":"1","net.ipv6.conf.IFNAME.ndisc_notify":"1"}}`},
			want:    facts{"bond0 mtu": "1400", "net1 txqlen": "555", "sysctl ipv4/conf/net1/arp_notify": "1", "sysctl ipv6/conf/net2/ndisc_notify": "1"},
		},
		{
			name: "bond; vlan and macvlan on top", bond: activeBackup + `,` + static,
			onTop: map[string][]string{
				"vlan100": {`{"type":"vlan","master":"bond0","linkInContainer":true,"vlanId":100,"mtu":1400,"ipam":{"type":"static","addresses":[{"address":"203.0.113.7/24"}]}}`},
				"macvlan": {`{"type":"macvlan","master":"bond0","linkInContainer":true,"mode":"bridge","ipam":{"type":"static","addresses":[{"address":"192.0.2.77/24"}]}}`},
			},
		},
	}
}

// vfsPerCard is how many pods can exist at the same time.
const vfsPerCard = 4

// TestChains: what the plugins around the bond configured survives the loss of a VF, the bond's deletion and the
// agent's restart. CHECK of the complete chain passes. DEL can be repeated and leaves the pod as before.
func TestChains(t *testing.T) {
	all := chains()
	for first := 0; first < len(all); first += vfsPerCard {
		t.Run(fmt.Sprintf("pods from %d", first), func(t *testing.T) {
			testChains(t, all[first:min(first+vfsPerCard, len(all))])
		})
	}
}

// testChains runs every step on all pods before the next step, because waiting dominates.
func testChains(t *testing.T, all []chain) {
	t.Helper()
	state := t.TempDir()
	a := startAgent(t, state)
	var pods []*pod
	for i, c := range all {
		p := newPod(t, c, i)
		p.build(state)
		pods = append(pods, p)
	}
	each := func(step string, do func(p *pod)) {
		for _, p := range pods {
			t.Run(p.chain.name+"/"+step, func(t *testing.T) {
				outer := p.t
				p.t = t
				defer func() { p.t = outer }()
				do(p)
				if t.Failed() {
					t.Logf("agent:\n%s", a.evidence())
				}
			})
		}
	}
	for _, p := range pods {
		p.waitCarrier()
	}
	for _, p := range pods {
		p.wait("the end of the set-up", func() bool { return p.setUpComplete(state) })
		p.made = p.facts()
	}
	each("set-up kept", func(p *pod) { p.asConfigured(); p.check("after the set-up") })
	each("VF lost and back", func(p *pod) { p.loseVF(0); p.check("after a VF was lost") })
	each("bond re-created", func(p *pod) {
		p.ip("-n", p.name, "link", "del", bondName)
		if len(p.chain.onTop) > 0 {
			p.withoutTop(a)
			return
		}
		p.same("after the bond was deleted", p.made)
		p.check("after the bond was deleted")
	})
	a.restart(len(pods))
	each("agent restarted", func(p *pod) {
		p.same("after the agent was restarted", p.made)
		p.check("after the agent was restarted")
	})
	if n := a.log.count(func(l line) bool { return l.Msg == "applied" }); n > 0 {
		t.Errorf("the restarted agent changed something:\n%s", a.evidence())
	}
	each("DEL", func(p *pod) { p.del() })
}

// waitCarrier waits until both members and the bond have a carrier.
func (p *pod) waitCarrier() {
	p.t.Helper()
	p.wait("both members' carrier", func() bool {
		f := p.facts()
		return f["net1 lower_up"] == "true" && f["net2 lower_up"] == "true" && f["bond0 lower_up"] == "true"
	})
}

// asConfigured checks what the plugins of the chain are known to configure.
func (p *pod) asConfigured() {
	p.t.Helper()
	for name, want := range p.chain.want {
		if have := p.made[name]; have != want {
			p.t.Errorf("after the set-up: %s: %q, want %q", name, have, want)
		}
	}
	if p.t.Failed() {
		p.t.Logf("the pod has:\n  %s", strings.Join(p.made.diff(nil), "\n  "))
	}
}

// loseVF unbinds and binds a VF's driver.
func (p *pod) loseVF(i int) {
	p.t.Helper()
	kit.Must(p.t, kit.Links{}.UnbindVF(bond.PCIAddress(p.vfs[i])))
	p.wait("the loss of the VF", func() bool { return p.facts()["net1 mac"] == "" })
	kit.Must(p.t, kit.Links{}.BindVF(bond.PCIAddress(p.vfs[i])))
	p.same("after a VF was lost", p.made)
}

// withoutTop checks that the bond is as before, and that the links on top of it, which the kernel deletes with it, are
// reported.
func (p *pod) withoutTop(a *agent) {
	p.t.Helper()
	want := facts{}
	for name, value := range p.made {
		gone := false
		for top := range p.chain.onTop {
			gone = gone || strings.HasPrefix(name, top+" ") || strings.Contains(name, "dev "+top)
		}
		if !gone {
			want[name] = value
		}
	}
	p.same("after the bond was deleted", want)
	p.made, p.topGone = want, true
}

// restart restarts the agent, and waits until it has reconciled every bond.
func (a *agent) restart(bonds int) {
	a.t.Helper()
	a.stop()
	a.start()
	a.wait("a look at every bond", func(l line) bool { return l.Msg == "reconcile requested" && l.Cause == "resync" }, 2*bonds)
}
