package link

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestSysctlTable compares order and units of the kernel's lists with the files in /proc, with a distinct value per
// file if possible.
func TestSysctlTable(t *testing.T) {
	g, c, d := onVeth(t)
	ns, err := netns.Open(g.pod)
	kit.Must(t, err)
	defer func() { _ = ns.Close() }()
	settings := func() bond.LinkSettings {
		t.Helper()
		now, err := c.byIndex(d.Index, false)
		kit.Must(t, err)
		s, err := now.linkSettings()
		kit.Must(t, err)
		return s
	}
	kit.Must(t, c.setUp(d, true))
	seen := 0
	for _, s := range settings().Sysctls() {
		path := filepath.Join("/proc/sys/net", s.Family, "conf", d.Name, s.Name)
		seen += compareSysctl(t, ns, path, s, func() []bond.Sysctl { return settings().Sysctls() })
	}
	if seen < 60 {
		t.Errorf("only %d sysctls were compared", seen)
	}
}

// compareSysctl compares a value with its file, before and after another value is written; it returns 0 if there is no
// such file.
func compareSysctl(t *testing.T, ns *netns.NS, path string, s bond.Sysctl, again func() []bond.Sysctl) int {
	t.Helper()
	read := func() (text string, err error) {
		var b []byte
		err = ns.Do(func() (err error) { b, err = os.ReadFile(path); return err })
		return strings.TrimSpace(string(b)), err
	}
	text, err := read()
	if err != nil {
		return 0
	}
	if text != strconv.FormatInt(s.Value, 10) {
		t.Errorf("%s is %s in its file, %d in the kernel's list", s, text, s.Value)
	}
	if s.Name == "disable_ipv6" {
		return 1 // it would reset the other values
	}
	for _, value := range []string{"1", "2", "0"} {
		if value == text || ns.Do(func() error { return os.WriteFile(path, []byte(value), 0) }) != nil {
			continue
		}
		text, _ = read()
		for _, now := range again() {
			if now.Family == s.Family && now.Name == s.Name && fmt.Sprint(now.Value) != text {
				t.Errorf("%s.%s is %s in its file, %d in the kernel's list", s.Family, s.Name, text, now.Value)
			}
		}
		return 1
	}
	return 1
}

// TestNeighSysctls: only values that differ from a new link's are listed, and they can be set again.
func TestNeighSysctls(t *testing.T) {
	_, c, d := onVeth(t)
	read := func() []bond.Sysctl {
		t.Helper()
		all, err := c.neighSysctls(d.Name)
		kit.Must(t, err)
		return all
	}
	if all := read(); all == nil || len(all) != 0 {
		t.Errorf("a new link has %v", all)
	}
	want := []bond.Sysctl{{Family: "ipv4", Neigh: true, Name: "ucast_solicit", Value: 5}, {Family: "ipv6", Neigh: true, Name: "app_solicit", Value: 2}}
	kit.Must(t, c.setSysctls(d.Name, want))
	if all := read(); !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
}
