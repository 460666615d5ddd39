//go:build lab

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

func okd(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "pkg", "cni", "testdata", "okd.json"))
	kit.Must(t, err)
	return text
}

// TestOKDPage: the page's unchanged config has the page's result.
func TestOKDPage(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	conf := p.conf(okd(t))
	result := p.add(conf, "net3")
	links := p.links()
	b := links["net3"]
	if b == nil || b.LinkInfo.Kind != "bond" || b.MTU != 1500 || !b.up() {
		t.Fatalf("bond: %+v", b)
	}
	for key, want := range map[string]any{"mode": "active-backup", "miimon": 100.0, "fail_over_mac": "active"} {
		if got := b.LinkInfo.Data[key]; got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	if len(result.IPs) != 1 || len(b.AddrInfo) == 0 {
		t.Fatalf("result's IPs: %v; the bond's: %v", result.IPs, b.AddrInfo)
	}
	if a := b.AddrInfo[0]; fmt.Sprintf("%s/%d", a.Local, a.PrefixLen) != result.IPs[0].Address.String() || !strings.HasPrefix(a.Local, "10.56.217.") {
		t.Errorf("the bond has %v, the result %v", b.AddrInfo, result.IPs)
	}
	if route := string(p.ip("-n", p.name, "route", "show", "default")); !strings.Contains(route, "via 10.56.217.1 dev net3") {
		t.Errorf("default route: %q", route)
	}
	for _, name := range []string{"net1", "net2"} {
		if l := links[name]; l == nil || l.Master != "net3" || !l.up() || l.Address != before[name].Address {
			t.Errorf("%s: %+v; before: %+v", name, l, before[name])
		}
	}
	p.waitActive("net3")
	active := p.proc("net3", "Currently Active Slave")
	if now := p.links(); now["net3"].Address != now[active].Address {
		t.Errorf("the bond has MAC %s, its active member %s has %s", now["net3"].Address, active, now[active].Address)
	}
	p.del(conf, "net3")
	p.likeBefore(before)
	p.del(conf, "net3")
	p.likeBefore(before)
}

// TestKilledADD: DEL, or the next ADD, cleans up after an ADD that was killed.
func TestKilledADD(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	kit.Program(t, filepath.Join(binDir, "killing"), "#!/bin/sh\n[ \"$CNI_COMMAND\" != ADD ] || kill -9 $PPID\n")
	killing := p.config("1.0.0", `"mode":"balance-rr","mtu":1400,"ipam":{"type":"killing"}`)
	for _, next := range []string{"DEL", "ADD"} {
		if _, err := p.cni.AddNetwork(t.Context(), killing, p.runtime("bond0")); err == nil {
			t.Error("ADD succeeded though it was killed")
		}
		if p.links()["bond0"] == nil {
			t.Error("ADD was killed before it had made anything; the test proves nothing")
		}
		if next == "ADD" {
			p.add(p.config("1.0.0", `"mode":"active-backup","failOverMac":1`), "bond0")
		}
		p.del(killing, "bond0")
		p.likeBefore(before)
	}
}
