//go:build lab

package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDelEndsWithoutIPAM: with real VFs and the IPAM plugin's binary removed after ADD, the first DEL takes the bond down and
// returns the VFs, and the third succeeds. The address is released before the next ADD of the same bond gets one.
func TestDelEndsWithoutIPAM(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	h := p.held("NEVER")
	plugin := filepath.Join(binDir, "held")
	p.well("ADD", "bond0", h.conf, nil)
	if err := os.Rename(plugin, plugin+".away"); err != nil {
		t.Fatal(err)
	}
	for attempt := 1; attempt <= 4; attempt++ {
		_, failed := p.bare("DEL", "bond0", h.conf, nil)
		if (failed != nil) != (attempt < 3) {
			t.Errorf("DEL %d: %v", attempt, failed)
		}
		now := p.links()
		for _, name := range []string{"net1", "net2"} {
			if l := now[name]; l == nil || l.Master != "" || l.Address != before[name].Address || l.MTU != before[name].MTU || l.up() != before[name].up() {
				t.Errorf("DEL %d: %s is %+v, was %+v", attempt, name, l, before[name])
			}
		}
		if now["bond0"] != nil {
			t.Errorf("DEL %d left the bond", attempt)
		}
		if len(p.leases()) != 1 {
			t.Errorf("DEL %d: leases %v", attempt, p.leases())
		}
	}
	if err := os.Rename(plugin+".away", plugin); err != nil {
		t.Fatal(err)
	}
	p.well("ADD", "bond0", h.conf, nil)
	if len(p.leases()) != 1 {
		t.Errorf("leases %v, want that of the second ADD", p.leases())
	}
	p.well("DEL", "bond0", h.conf, nil)
	p.nothingLeft(before)
}
