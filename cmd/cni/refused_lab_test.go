//go:build lab

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
)

// local is a config with host-local as IPAM, whose leases are in this test's own directory.
func (p *pod) local(fields, ipam string) *libcni.PluginConfig {
	p.t.Helper()
	if ipam != "" {
		ipam = "," + ipam
	}
	return p.config("1.0.0", fmt.Sprintf(`%s,"ipam":{"type":"host-local","dataDir":%q,"subnet":"192.0.2.0/24"%s}`, fields, p.data(), ipam))
}

// data is host-local's directory.
func (p *pod) data() string { return p.state + "-leases" }

// leases are the addresses that host-local has allocated, each with its file's text.
func (p *pod) leases() map[string]string {
	p.t.Helper()
	files, err := filepath.Glob(p.data() + "/*/*")
	if err != nil {
		p.t.Fatal(err)
	}
	found := map[string]string{}
	for _, f := range files {
		name := filepath.Base(f)
		if strings.HasPrefix(name, "last_reserved") || name == "lock" {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			p.t.Fatal(err)
		}
		found[name] = string(text)
	}
	return found
}

// nothingLeft is likeBefore, and checks that there is no lease.
func (p *pod) nothingLeft(before map[string]*linkJSON) {
	p.t.Helper()
	p.likeBefore(before)
	if l := p.leases(); len(l) > 0 {
		p.t.Errorf("leases left: %v", l)
	}
}
