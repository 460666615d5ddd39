package heal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// snapshot is what other tools report of a pod's network, as facts by name: "bond0 mtu" is "1500". What does not
// concern the pod (ifindexes, counters) is left out, so that two can be compared.
type snapshot map[string]string

// isChosen reports whether the kernel chooses a fact's value: the active member.
func isChosen(fact string) bool { return strings.HasSuffix(fact, " active member") }

// diff lists the differences from want, one fact per line.
func (s snapshot) diff(want snapshot, besides ...string) []string {
	var lines []string
	names := maps.Clone(want)
	maps.Copy(names, s)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if isChosen(name) || slices.Contains(besides, name) || s[name] == want[name] {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %s, want %s", name, orNone(s[name]), orNone(want[name])))
	}
	return lines
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// ipLink is what is used of ip -j -d addr show.
type ipLink struct {
	Name      string   `json:"ifname"`
	Flags     []string `json:"flags"`
	MTU       int      `json:"mtu"`
	TxQLen    int      `json:"txqlen"`
	MAC       string   `json:"address"`
	Master    string   `json:"master"`
	ParentDev string   `json:"parentdev"`
	Info      struct {
		Kind      string         `json:"info_kind"`
		Data      map[string]any `json:"info_data"`
		SlaveKind string         `json:"info_slave_kind"`
	} `json:"linkinfo"`
	Addresses []struct {
		Local     string `json:"local"`
		PrefixLen int    `json:"prefixlen"`
		Scope     string `json:"scope"`
		Label     string `json:"label"`
	} `json:"addr_info"`
	VFs []map[string]any `json:"vfinfo_list"`
}

// snapshot reads the pod's current state.
func (p *Pod) snapshot(ctx context.Context) (snapshot, error) {
	s := snapshot{}
	if err := errors.Join(s.network(ctx, p.Name), s.bonding(p.netns(), BondName), s.sysctls(p.netns(), BondName, "net1", "net2")); err != nil {
		return nil, err
	}
	return s, s.pfs(ctx, p.fixture.cards, p.members)
}

// network adds the links, addresses and routes of a netns.
func (s snapshot) network(ctx context.Context, netns string) error {
	out, err := output(ctx, "addr show\nroute show table all type unicast\n", "ip", "-n", netns, "-j", "-d", "-batch", "-")
	if err != nil {
		return err
	}
	answers := json.NewDecoder(strings.NewReader(string(out)))
	var links []ipLink
	var routes []map[string]any
	if err := decodeAll(answers, &links, &routes); err != nil {
		return fmt.Errorf("output of ip about pod %s: %w", netns, err)
	}
	for _, l := range links {
		s.link(&l)
	}
	for _, r := range routes {
		s.route(r)
	}
	return nil
}

func decodeAll(answers *json.Decoder, into ...any) error {
	for _, v := range into {
		if err := answers.Decode(v); err != nil {
			return err
		}
	}
	return nil
}

// link adds a link of the pod, of whatever kind: an additional link is a difference, too.
func (s snapshot) link(l *ipLink) {
	if l.Name == "lo" {
		return
	}
	fact := func(what, value string) { s[l.Name+" "+what] = value }
	fact("kind", orNone(l.Info.Kind+l.Info.SlaveKind))
	fact("mac", l.MAC)
	fact("mtu", fmt.Sprint(l.MTU))
	fact("txqlen", fmt.Sprint(l.TxQLen))
	fact("master", l.Master)
	fact("pci", topology.FunctionOf(l.ParentDev))
	fact("up", fmt.Sprint(slices.Contains(l.Flags, "UP")))
	fact("carrier", fmt.Sprint(slices.Contains(l.Flags, "LOWER_UP")))
	for _, a := range l.Addresses {
		if a.Scope != "link" { // made by the kernel from the MAC
			fact(fmt.Sprintf("address %s/%d", a.Local, a.PrefixLen), a.Scope)
		}
	}
	for name, value := range l.Info.Data {
		if l.Info.Kind == "bond" && name != "active_slave" && name != "ad_info" {
			fact("option "+name, fmt.Sprint(value))
		}
	}
}

// route adds a route with all its attributes except flags.
func (s snapshot) route(r map[string]any) {
	delete(r, "flags")
	dst := r["dst"]
	if strings.HasPrefix(fmt.Sprint(dst), "fe80:") {
		return // the kernel makes it with a link-local address, when the link has a carrier
	}
	delete(r, "dst")
	var words []string
	for _, name := range slices.Sorted(maps.Keys(r)) {
		words = append(words, fmt.Sprintf("%s %v", name, r[name]))
	}
	if t, other := r["table"]; other {
		dst = fmt.Sprintf("%v table %v", dst, t)
	}
	s[fmt.Sprintf("route %v", dst)] = strings.Join(words, " ")
}

// sysctls adds some that sriov-cni and tuning set on a bond and its members.
func (s snapshot) sysctls(path string, links ...string) error {
	ns, err := netns.Open(path)
	if err != nil {
		return err
	}
	err = ns.Do(func() error {
		for _, link := range links {
			for _, name := range []string{"ipv4/conf/%s/arp_notify", "ipv4/conf/%s/rp_filter", "ipv6/conf/%s/ndisc_notify", "ipv4/neigh/%s/ucast_solicit"} {
				value, missing := os.ReadFile("/proc/sys/net/" + fmt.Sprintf(name, link))
				if missing == nil { // a missing link has none
					s[link+" sysctl "+strings.ReplaceAll(name, "/%s/", " ")] = strings.TrimSpace(string(value))
				}
			}
		}
		return nil
	})
	return errors.Join(err, ns.Close())
}

// bonding adds what the bonding driver reports about the members.
func (s snapshot) bonding(path, bond string) error {
	ns, err := netns.Open(path)
	if err != nil {
		return err
	}
	var text []byte
	err = ns.Do(func() error {
		var readErr error
		text, readErr = os.ReadFile("/proc/thread-self/net/bonding/" + bond)
		return readErr
	})
	err = errors.Join(err, ns.Close())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no bond of that name, which the links show
	}
	if err != nil {
		return fmt.Errorf("report of the bonding driver: %w", err)
	}
	member := ""
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case name == "Currently Active Slave":
			s[bond+" active member"] = value
		case name == "Slave Interface":
			member = value
		case name == "MII Status" && member != "":
			s[member+" MII status"] = value
		}
	}
	return nil
}

// hostLinks reads the links of the host.
func hostLinks(ctx context.Context) ([]ipLink, error) {
	out, err := output(ctx, "", "ip", "-j", "-d", "link", "show")
	if err != nil {
		return nil, err
	}
	var links []ipLink
	if err := json.Unmarshal(out, &links); err != nil {
		return nil, fmt.Errorf("output of ip about the host: %w", err)
	}
	return links, nil
}

// pfs adds what the PFs report about VFs.
func (s snapshot) pfs(ctx context.Context, cards []card, members []member) error {
	links, err := hostLinks(ctx)
	if err != nil {
		return err
	}
	for _, m := range members {
		pf := cards[m.card].PF.PCI
		at := slices.IndexFunc(links, func(l ipLink) bool { return topology.FunctionOf(l.ParentDev) == pf })
		if at >= 0 {
			s.vf(links[at].VFs, m.number, m.name+" on its PF")
		}
	}
	return nil
}

// vf adds what a PF reports about one VF. A missing fact is a difference.
func (s snapshot) vf(all []map[string]any, number int, prefix string) {
	if len(all) <= number {
		return
	}
	for name, value := range all[number] {
		if name != "vf" && name != "link_type" && name != "broadcast" {
			s[prefix+": "+name] = fmt.Sprint(value)
		}
	}
}
