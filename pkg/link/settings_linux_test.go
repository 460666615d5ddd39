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

// TestNeighSysctlsAreThoseOfTheFiles changes each file of a link's neighbour tables that shows a setting in its own
// units, and compares what the kernel's message says.
func TestNeighSysctlsAreThoseOfTheFiles(t *testing.T) {
	_, c, d := onVeth(t)
	files := 0
	for _, family := range []string{"ipv4", "ipv6"} {
		dir := filepath.Join("/proc/sys/net", family, "neigh", d.Name)
		kit.Must(t, c.ns.Do(func() error {
			entries, err := os.ReadDir(dir)
			for _, e := range entries {
				if e.Name() == "base_reachable_time" || e.Name() == "retrans_time" { // see neighParms
					continue
				}
				files++
				want := bond.Sysctl{Family: family, Neigh: true, Name: e.Name(), Value: 7}
				if e.Name() == "unres_qlen" { // it is a number of bytes, and shown as one of packets
					want.Value = 70
				}
				if err = os.WriteFile(filepath.Join(dir, e.Name()), fmt.Append(nil, want.Value), 0); err != nil {
					t.Errorf("%s: %v", want, err)
				}
				// Jiffies may be longer than the value: what the file shows then counts.
				text, unread := os.ReadFile(filepath.Join(dir, e.Name()))
				kit.Must(t, unread)
				want.Value, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
				kit.Must(t, err)
				all, readErr := c.neighSysctls(func(index int) bool { return index == d.Index })
				kit.Must(t, readErr)
				if !slices.Contains(all[d.Index], want) {
					t.Errorf("file: %s; message: %v", want, all[d.Index])
				}
			}
			return err
		}))
	}
	if files < 2*len(neighParms)-2 {
		t.Errorf("%d files were compared, of %d parameters in two families", files, len(neighParms))
	}
}

// TestNeighSysctls: only values that differ from a new link's are listed, and they can be set again.
func TestNeighSysctls(t *testing.T) {
	_, c, d := onVeth(t)
	read := func() []bond.Sysctl {
		t.Helper()
		all, err := c.neighSysctls(func(index int) bool { return index == d.Index })
		kit.Must(t, err)
		return all[d.Index]
	}
	if all := read(); len(all) != 0 {
		t.Errorf("a new link has %v", all)
	}
	want := []bond.Sysctl{{Family: "ipv4", Neigh: true, Name: "ucast_solicit", Value: 5}, {Family: "ipv6", Neigh: true, Name: "app_solicit", Value: 2}}
	kit.Must(t, c.setSysctls(d.Name, want))
	if all := read(); !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
}
