package kit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Links changes and reads links of the kernel with ip(8). A link is identified by the path of its netns (empty for the
// host's) and its name there.
type Links struct {
	// Host is the path of the host's netns; empty for this process's.
	Host string
}

// IP runs ip(8) in a netns.
func (l Links) IP(path string, args ...string) ([]byte, error) {
	if path == "" {
		path = l.Host
	}
	return IP(path, args...)
}

// Set changes a link.
func (l Links) Set(path, name string, args ...string) error {
	_, err := l.IP(path, append([]string{"link", "set", "dev", name}, args...)...)
	return err
}

// Target is ip's name of a netns to move a link to.
func (l Links) Target(path string) string {
	switch {
	case path != "":
		return filepath.Base(path)
	case l.Host != "":
		return filepath.Base(l.Host)
	default:
		return "1" // by a process in it
	}
}

// shown is a link in the output of `ip -d -j addr`.
type shown struct {
	Index  int      `json:"ifindex"`
	Name   string   `json:"ifname"`
	MAC    bond.MAC `json:"address"`
	MTU    int      `json:"mtu"`
	Flags  []string `json:"flags"`
	Master string   `json:"master"`
	Info   struct {
		Kind string `json:"info_kind"`
	} `json:"linkinfo"`
}

// Link returns a link as ip shows it.
func (l Links) Link(path, name string) (bond.Link, bool) {
	s, err := l.show(path, "dev", name)
	if err != nil || len(s) != 1 {
		return bond.Link{}, false
	}
	link := s[0].link()
	if s[0].Master != "" {
		master, err := l.show(path, "dev", s[0].Master)
		if err != nil || len(master) != 1 {
			return bond.Link{}, false
		}
		link.Master = master[0].Index
	}
	return link, true
}

// All returns the links of a netns as ip shows them, in the order of their indexes.
func (l Links) All(path string) ([]bond.Link, error) {
	list, err := l.show(path)
	index := map[string]int{}
	for i := range list {
		index[list[i].Name] = list[i].Index
	}
	links := make([]bond.Link, len(list))
	for i := range list {
		links[i] = list[i].link()
		links[i].Master = index[list[i].Master]
	}
	return links, err
}

func (l Links) show(path string, args ...string) (list []shown, err error) {
	out, err := l.IP(path, append([]string{"-d", "-j", "link", "show"}, args...)...)
	if err != nil {
		return nil, err
	}
	return list, json.Unmarshal(out, &list)
}

// link is the link without its master.
func (s *shown) link() bond.Link {
	return bond.Link{
		Index: s.Index, Name: s.Name, Kind: s.Info.Kind, MAC: s.MAC, MTU: s.MTU,
		Up: slices.Contains(s.Flags, "UP"), Carrier: slices.Contains(s.Flags, "LOWER_UP"),
	}
}

// Rename sets a link that is up down for its new name if the kernel requires that (before 6.2), and leaves it down.
func (l Links) Rename(path, name, to string) error {
	if RenamesUp() {
		return l.Set(path, name, "name", to)
	}
	now, found := l.Link(path, name)
	if !found || !now.Up {
		return l.Set(path, name, "name", to)
	}
	return l.Batch(path, fmt.Sprintf("link set %s down\nlink set %s name %s\n", name, name, to))
}

// SetUp, and the methods below, change a link with ip.
func (l Links) SetUp(path, name string) error   { return l.Set(path, name, "up") }
func (l Links) SetDown(path, name string) error { return l.Set(path, name, "down") }
func (l Links) Release(path, name string) error { return l.Set(path, name, "nomaster") }

func (l Links) SetMAC(path, name string, m bond.MAC) error {
	return l.Set(path, name, "address", string(m))
}

func (l Links) SetMTU(path, name string, mtu int) error {
	return l.Set(path, name, "mtu", fmt.Sprint(mtu))
}

func (l Links) MoveToHost(path, name string) error {
	return l.Set(path, name, "netns", l.Target(""))
}

func (l Links) MoveToNetns(path, name, toPath, to string) error {
	return l.Set(path, name, "name", to, "netns", l.Target(toPath))
}

func (l Links) Enslave(path, name, bondName string) error {
	return errors.Join(l.SetDown(path, name), l.Set(path, name, "master", bondName))
}

func (l Links) AddBond(path, name string) error {
	_, err := l.IP(path, "link", "add", name, "type", "bond")
	return err
}

func (l Links) AddMacvlan(path, name, lower string) error {
	_, err := l.IP(path, "link", "add", "link", lower, "name", name, "type", "macvlan")
	return err
}

// AddQdisc adds a queueing discipline with tc(8): clsact, or another kind at the root.
func (l Links) AddQdisc(path, name, kind string) error { return l.qdisc(path, "replace", name, kind) }

// DeleteQdisc deletes what AddQdisc added.
func (l Links) DeleteQdisc(path, name, kind string) error { return l.qdisc(path, "delete", name, kind) }

func (l Links) qdisc(path, verb, name, kind string) error {
	args := []string{"qdisc", verb, "dev", name}
	if kind != "clsact" {
		args = append(args, "root")
	}
	if path == "" {
		path = l.Host
	}
	_, err := Run(path, "tc", append(args, kind)...)
	return err
}

// SetEthtool changes a setting with ethtool(8): "ring rx", "feature tx-nocache-copy".
func (l Links) SetEthtool(path, name, setting, value string) error {
	group, param, _ := strings.Cut(setting, " ")
	option, known := map[string]string{"feature": "-K", "ring": "-G", "channels": "-L", "coalesce": "-C"}[group]
	if !known {
		return fmt.Errorf("no option of ethtool for %q", setting)
	}
	if path == "" {
		path = l.Host
	}
	_, err := Run(path, "ethtool", option, name, param, value)
	return err
}

func (l Links) AddVRF(path, name string, table int) error {
	if _, err := l.IP(path, "link", "add", name, "type", "vrf", "table", fmt.Sprint(table)); err != nil {
		return err
	}
	return l.SetUp(path, name)
}

// AddImpostor makes a dummy.
func (l Links) AddImpostor(path, name string) (bond.Link, error) {
	_, err := l.IP(path, "link", "add", name, "type", "dummy")
	link, _ := l.Link(path, name)
	return link, err
}

func (l Links) DeleteLink(path, name string) error {
	_, err := l.IP(path, "link", "del", name)
	return err
}

func (l Links) DeleteBond(path, name string) error { return l.DeleteLink(path, name) }

func (l Links) FlushAddresses(path, name string) error {
	_, err := l.IP(path, "addr", "flush", "dev", name)
	return err
}

func (l Links) DeleteRoute(path, name string, dst netip.Prefix) error {
	_, err := l.IP(path, "route", "del", dst.String(), "dev", name)
	return err
}

// SetOption changes an option of a bond. ip has the kernel's names: failOverMac is fail_over_mac.
func (l Links) SetOption(path, name string, option bond.Option, value string) error {
	var words strings.Builder
	for _, c := range string(option) {
		if unicode.IsUpper(c) {
			words.WriteByte('_')
		}
		words.WriteRune(unicode.ToLower(c))
	}
	return l.Set(path, name, "type", "bond", words.String(), value)
}

// SetPF sets a PF up or down.
func (l Links) SetPF(pf string, up bool) error {
	name, err := Netdev(context.Background(), bond.PCIAddress(pf))
	if err != nil {
		return err
	}
	if up {
		return l.SetUp("", name)
	}
	return l.SetDown("", name)
}

// AddAddresses adds all with one command, without duplicate address detection.
func (l Links) AddAddresses(path, name string, all []netip.Prefix) error {
	var lines strings.Builder
	for _, p := range all {
		dad := ""
		if p.Addr().Is6() {
			dad = "nodad"
		}
		fmt.Fprintf(&lines, "address add %s dev %s %s\n", p, name, dad)
	}
	return l.Batch(path, lines.String())
}

// AddRoutes adds all with one command. A special one (IPv4 only) gets a TOS.
func (l Links) AddRoutes(path, name string, all []bond.Route) error {
	var lines strings.Builder
	for _, r := range all {
		table := unix.RT_TABLE_MAIN
		if r.Table != nil {
			table = *r.Table
		}
		attr := ""
		if r.Special {
			attr = "tos 0x10"
		}
		fmt.Fprintf(&lines, "route add %s %s dev %s table %d proto %d\n", attr, r.Dst, name, table, r.Proto)
	}
	return l.Batch(path, lines.String())
}

// Batch runs commands of ip in one process.
func (l Links) Batch(path, lines string) error {
	file, err := os.CreateTemp("", "ip-batch")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.WriteString(lines)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	_, err = l.IP(path, "-batch", file.Name())
	return err
}
