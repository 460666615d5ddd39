//go:build lab

package chains

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// facts describe a pod's network as ip(8) and /proc/sys show it, by name: "bond0 mtu" is "1500". Ifindexes and the
// active member are left out, so that two can be compared.
type facts map[string]string

// diff lists what differs from want, one fact per line.
func (f facts) diff(want facts) []string {
	names := facts{}
	maps.Copy(names, want)
	maps.Copy(names, f)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		have, expected := f[name], want[name]
		if have != expected {
			lines = append(lines, fmt.Sprintf("%s: %q, want %q", name, have, expected))
		}
	}
	return lines
}

type ipLink struct {
	Name        string   `json:"ifname"`
	Flags       []string `json:"flags"`
	MTU         int      `json:"mtu"`
	MAC         string   `json:"address"`
	Master      string   `json:"master"`
	TxQLen      int      `json:"txqlen"`
	Promiscuity int      `json:"promiscuity"`
	Info        struct {
		Kind string         `json:"info_kind"`
		Data map[string]any `json:"info_data"`
	} `json:"linkinfo"`
	Addresses []struct {
		Local     string `json:"local"`
		PrefixLen int    `json:"prefixlen"`
		Scope     string `json:"scope"`
	} `json:"addr_info"`
}

// facts reads the pod's current network. The sysctls are those that the chain sets.
func (p *pod) facts() facts {
	p.t.Helper()
	f := facts{}
	var links []ipLink
	p.decode(&links, "-n", p.name, "-j", "-d", "addr", "show")
	for i := range links {
		f.link(&links[i])
	}
	for _, family := range []string{"-4", "-6"} {
		var routes, rules []map[string]any
		p.decode(&routes, "-n", p.name, family, "-j", "-d", "route", "show", "table", "all")
		p.decode(&rules, "-n", p.name, family, "-j", "rule", "show")
		for _, r := range routes {
			f.route(r)
		}
		for _, r := range rules {
			if fmt.Sprint(r["priority"]) == "1000" {
				continue // the kernel's l3mdev rule, which stays once the first VRF was created
			}
			f[fmt.Sprintf("rule%s %v: from %v %v", family, r["priority"], r["src"], r["l3mdev"])] = fmt.Sprint(r["table"])
		}
	}
	p.sysctls(f)
	return f
}

func (p *pod) decode(into any, args ...string) {
	p.t.Helper()
	out := p.ip(args...)
	if len(out) == 0 {
		return // ip prints nothing where a table does not exist
	}
	if err := json.Unmarshal(out, into); err != nil {
		p.t.Fatalf("ip %v prints %s: %v", args, out, err)
	}
}

func (f facts) link(l *ipLink) {
	if l.Name == "lo" {
		return
	}
	add := func(what string, value any) { f[l.Name+" "+what] = fmt.Sprint(value) }
	add("kind", l.Info.Kind)
	add("mac", l.MAC)
	add("mtu", l.MTU)
	add("master", l.Master)
	add("txqlen", l.TxQLen)
	for _, flag := range []string{"UP", "LOWER_UP", "ALLMULTI", "PROMISC"} {
		add(strings.ToLower(flag), slices.Contains(l.Flags, flag))
	}
	for _, a := range l.Addresses {
		if a.Scope != "link" { // the kernel makes those from the MAC
			add(fmt.Sprintf("address %s/%d", a.Local, a.PrefixLen), a.Scope)
		}
	}
	for name, value := range l.Info.Data {
		if name != "active_slave" && name != "ad_info" {
			add("option "+name, value)
		}
	}
}

// route adds a route through a link other than lo. Routes of table local, which the kernel maintains, and to link-local
// destinations are left out.
func (f facts) route(r map[string]any) {
	dst := fmt.Sprint(r["dst"])
	if r["dev"] == "lo" || r["table"] == "local" || r["type"] == "local" || r["type"] == "broadcast" || r["type"] == "anycast" ||
		r["type"] == "multicast" || dst == "ff00::/8" || dst == "multicast" || strings.HasPrefix(dst, "fe80") {
		return
	}
	for _, ignored := range []string{"dst", "flags", "protocol", "type", "pref"} {
		delete(r, ignored)
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(r)) {
		words = append(words, fmt.Sprintf("%s %v", name, r[name]))
	}
	f[fmt.Sprintf("route %s %s", dst, strings.Join(words, " "))] = "present"
}

// sysctls reads the files below /proc/sys/net. A missing file adds no fact.
func (p *pod) sysctls(f facts) {
	p.t.Helper()
	ns, err := netns.Open("/run/netns/" + p.name)
	if err != nil {
		p.t.Fatal(err)
	}
	err = ns.Do(func() error {
		for _, name := range p.chain.sysctls {
			data, readErr := os.ReadFile(filepath.Join("/proc/sys/net", name))
			if readErr == nil {
				f["sysctl "+name] = strings.TrimSpace(string(data))
			}
		}
		return nil
	})
	if err = errors.Join(err, ns.Close()); err != nil {
		p.t.Fatal(err)
	}
}
