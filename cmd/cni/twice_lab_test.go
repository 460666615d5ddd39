//go:build lab

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// TestSeveralBondsInOnePod: each comes and goes without the others' noticing, and none takes another's links.
func TestSeveralBondsInOnePod(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	for _, name := range []string{"a1", "a2", "b1", "b2"} {
		p.ip("-n", p.name, "link", "add", name, "type", "dummy")
	}
	before := p.links()
	conf := func(mode int, links ...string) *libcni.PluginConfig {
		return p.local(fmt.Sprintf(`"mode":%d,"links":[{"name":%q},{"name":%q}]`, mode, links[0], links[1]), "")
	}
	confs := map[string]*libcni.PluginConfig{"bond0": conf(1, "net1", "net2"), "bond1": conf(0, "a1", "a2"), "bond2": conf(4, "b1", "b2")}
	for name, c := range confs {
		p.add(c, name)
	}
	if _, err := p.cni.AddNetwork(t.Context(), conf(0, "a1", "b2"), p.runtime("bond3")); err == nil || !strings.Contains(err.Error(), "a1") || !strings.Contains(err.Error(), "bond1") {
		t.Errorf("a fourth with links of the others: %v", err)
	}
	p.del(confs["bond1"], "bond1")
	for name, want := range map[string]string{"net1": "bond0", "net2": "bond0", "a1": "", "a2": "", "b1": "bond2", "b2": "bond2"} {
		if l := p.links()[name]; l == nil || l.Master != want {
			t.Errorf("%s is %+v, want it in %q", name, l, want)
		}
	}
	for _, name := range []string{"bond0", "bond2"} {
		if err := p.cni.CheckNetwork(t.Context(), confs[name], p.runtime(name)); err != nil {
			t.Errorf("CHECK of %s: %v", name, err)
		}
		p.del(confs[name], name)
	}
	p.nothingLeft(before)
}

// TestSamePodNameTwice: a pod is made anew under its name while the old one's sandbox still stands.
func TestSamePodNameTwice(t *testing.T) {
	old, young := newPod(t), newPod(t)
	young.state = old.state
	for _, p := range []*pod{old, young} {
		for _, name := range []string{"net1", "net2"} {
			p.ip("-n", p.name, "link", "add", name, "type", "dummy")
		}
	}
	before := [2]map[string]*linkJSON{old.links(), young.links()}
	conf := old.local(`"mode":1`, "")
	called := [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "demo"}, {"K8S_POD_NAME", "web-0"}}
	for _, p := range []*pod{old, young} {
		rt := p.runtime("bond0")
		rt.Args = called
		if _, err := p.cni.AddNetwork(t.Context(), conf, rt); err != nil {
			t.Fatalf("ADD: %v", err)
		}
	}
	if l := old.leases(); len(l) != 2 {
		t.Errorf("leases: %v", l)
	}
	rt := old.runtime("bond0")
	rt.Args = called
	if err := old.cni.DelNetwork(t.Context(), conf, rt); err != nil {
		t.Fatalf("DEL: %v", err)
	}
	if old.links()["bond0"] != nil || young.links()["bond0"] == nil || len(young.leases()) != 1 {
		t.Errorf("after the old one's DEL: leases %v", young.leases())
	}
	rt = young.runtime("bond0")
	rt.Args = called
	if err := young.cni.CheckNetwork(t.Context(), conf, rt); err != nil {
		t.Errorf("CHECK of the young one: %v", err)
	}
	if err := young.cni.DelNetwork(t.Context(), conf, rt); err != nil {
		t.Fatalf("DEL: %v", err)
	}
	old.nothingLeft(before[0])
	young.nothingLeft(before[1])
}

// TestAddTwiceInTheLab: the second is refused and changes nothing; DEL before, between and after is right.
func TestAddTwiceInTheLab(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	conf := p.local(`"mode":1,"failOverMac":1`, "")
	p.well("DEL", "bond0", conf, nil)
	for range 2 {
		p.well("ADD", "bond0", conf, nil)
		p.waitActive("bond0")
		made := p.links()
		_, failed := p.bare("ADD", "bond0", conf, nil)
		if failed == nil || failed.Code != types.ErrInvalidEnvironmentVariables || !strings.Contains(failed.Msg, "DEL comes before another ADD") {
			t.Errorf("a second ADD: %v", failed)
		}
		now := p.links()
		for name, l := range made {
			if n := now[name]; n == nil || n.Master != l.Master || n.Address != l.Address || len(n.AddrInfo) != len(l.AddrInfo) {
				t.Errorf("the second ADD changed %s: %+v, was %+v", name, n, l)
			}
		}
		if len(p.leases()) != 1 {
			t.Errorf("leases: %v", p.leases())
		}
		p.well("DEL", "bond0", conf, nil)
		p.nothingLeft(before)
		p.well("DEL", "bond0", conf, nil)
	}
}

// held is the IPAM plugin host-local, which waits in one verb until it is let go.
type held struct {
	*pod
	conf *libcni.PluginConfig
	dir  string
}

func (p *pod) held(verb string) *held {
	p.t.Helper()
	h := &held{pod: p, dir: p.t.TempDir()}
	script := fmt.Sprintf("#!/bin/sh\nif [ $CNI_COMMAND = %s ] && mkdir %s/entered; then\n  while [ ! -e %s/open ]; do sleep 0.05; done\nfi\nexec %s\n",
		verb, h.dir, h.dir, filepath.Join(binDir, "host-local"))
	if err := os.WriteFile(filepath.Join(binDir, "held"), []byte(script), 0o700); err != nil { //nolint:gosec // a program
		p.t.Fatal(err)
	}
	h.conf = p.config("1.0.0", fmt.Sprintf(`"mode":1,"ipam":{"type":"held","dataDir":%q,"subnet":"192.0.2.0/24"}`, p.data()))
	return h
}

// start calls a verb and does not wait for its end.
func (h *held) start(verb string) <-chan *types.Error {
	done := make(chan *types.Error, 1)
	go func() {
		_, failed := h.bare(verb, "bond0", h.conf, nil)
		done <- failed
	}()
	return done
}

func (h *held) entered() {
	h.t.Helper()
	h.wait("IPAM", func() bool { _, err := os.Stat(h.dir + "/entered"); return err == nil })
}

func (h *held) letGo() {
	h.t.Helper()
	if err := os.WriteFile(h.dir+"/open", nil, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// TestAddWhileDelRuns: the ADD waits, and keeps the address that it is given.
func TestAddWhileDelRuns(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	h := p.held("DEL")
	p.well("ADD", "bond0", h.conf, nil)
	deleted := h.start("DEL")
	h.entered()
	added := h.start("ADD")
	select {
	case failed := <-added:
		h.letGo()
		t.Fatalf("ADD did not wait: %v", failed)
	case <-time.After(2 * time.Second): // it is to wait, which nothing shows
	}
	h.letGo()
	if failed := <-deleted; failed != nil {
		t.Errorf("DEL: %v", failed)
	}
	if failed := <-added; failed != nil {
		t.Fatalf("ADD: %v", failed)
	}
	b := p.links()["bond0"]
	if b == nil || len(b.AddrInfo) == 0 || len(p.leases()) != 1 || p.leases()[b.AddrInfo[0].Local] == "" {
		t.Errorf("the bond is %+v, leases %v", b, p.leases())
	}
	p.well("DEL", "bond0", h.conf, nil)
	p.nothingLeft(before)
}

// TestDelWhileAddRuns: the ADD fails, and the DEL, which waits for IPAM, gives back the address that the ADD was given.
func TestDelWhileAddRuns(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	h := p.held("ADD")
	added := h.start("ADD")
	h.entered()
	deleted := h.start("DEL")
	p.wait("the tombstone", func() bool {
		records, err := filepath.Glob(filepath.Join(p.state, "*.json"))
		if err != nil || len(records) != 1 {
			t.Fatalf("records %q, %v", records, err)
		}
		record, err := os.ReadFile(records[0])
		return err == nil && strings.Contains(string(record), `"phase":"deleting"`)
	})
	h.letGo()
	if failed := <-added; failed == nil || failed.Code != types.ErrTryAgainLater {
		t.Errorf("ADD: %v", failed)
	}
	if failed := <-deleted; failed != nil {
		t.Errorf("DEL: %v", failed)
	}
	p.nothingLeft(before)
}
