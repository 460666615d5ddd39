//go:build lab

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
	"github.com/bondkeeper/bondkeeper/test/sriovstub"
)

// attached is a pod whose VFs were attached by sriov-cni, in the node's own directory.
type attached struct {
	*direct
	sriov sriovstub.Plugin
}

// newAttached requests a VLAN, trust and a MAC on the first card, and nothing on the second.
func newAttached(t *testing.T, release sriovstub.Release) *attached {
	t.Helper()
	kit.NeedVFSettings(t)
	p := newPod(t)
	a := &attached{direct: p.direct("1.1.0", map[string]any{"mode": 1, "failOverMac": 1, "ipam": map[string]any{"type": "flaky"}}), sriov: sriovstub.Plugin{Release: release}}
	flaky := fmt.Sprintf("#!/bin/sh\n[ $CNI_COMMAND != DEL ] || [ ! -e %s/fail-del ] || exit 1\necho '{\"cniVersion\":\"1.1.0\",\"ips\":[{\"address\":\"192.0.2.7/24\"}]}'\n", p.netnsFiles())
	kit.Program(t, filepath.Join(binDir, "flaky"), flaky)
	t.Cleanup(a.forgetMACs)
	for i := range p.cards {
		name, _ := p.inHost(i)
		p.ip("link", "set", name, "down", "name", fmt.Sprintf("orig%d", i)) // a name that no driver gives
	}
	for i, requested := range []string{`,"vlan":100,"trust":"on","mac":"02:00:00:00:00:11"`, ""} {
		conf := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"vf","type":"sriov","deviceID":%q%s}`, p.cards[i].VFs[0].PCI, requested)
		if err := a.sriov.Add(a.args(i), []byte(conf)); err != nil {
			t.Fatalf("sriov-cni: %v", err)
		}
		t.Cleanup(func() { _ = a.sriov.Del(a.args(i)) })
	}
	t.Cleanup(func() { _ = os.RemoveAll(sriovstub.DefaultDir) })
	return a
}

// forgetMACs removes the MACs from the PFs that sriov-cni's DEL leaves there: the next test's VFs could have no other.
func (a *attached) forgetMACs() {
	for i := range a.cards {
		pf, err := topology.Netdev(a.cards[i].PF.PCI)
		if err != nil {
			a.t.Error(err)
			continue
		}
		a.ip("link", "set", pf, "vf", "0", "mac", "00:00:00:00:00:00")
		a.lose(i)
	}
}

func (p *pod) netnsFiles() string { return filepath.Dir(p.state) }

func (a *attached) args(card int) sriovstub.Args {
	return sriovstub.Args{ContainerID: a.name, Netns: a.netns, IfName: fmt.Sprintf("net%d", card+1)}
}

// detach is sriov-cni's DEL, as Multus calls it after the bond's: the last one first.
func (a *attached) detach(cards ...int) {
	a.t.Helper()
	for _, card := range cards {
		if err := a.sriov.Del(a.args(card)); err != nil {
			a.t.Fatalf("sriov-cni: DEL of net%d: %v", card+1, err)
		}
	}
}

// lose unbinds and binds a VF's driver.
func (a *attached) lose(card int) {
	a.t.Helper()
	a.driver(card, "unbind")
	a.driver(card, "bind")
	a.wait("the VF's netdev", func() bool { _, err := topology.Netdev(a.cards[card].VFs[0].PCI); return err == nil })
}

// shown is everything that the host and the PF show about a VF.
func (a *attached) shown(card int) string {
	a.t.Helper()
	name, mac := a.inHost(card)
	l := a.parse(a.ip("-d", "-j", "addr", "show", "dev", name))[name]
	vf := a.onPF(card)
	return fmt.Sprint(name, " ", mac, " mtu ", l.MTU, " up ", l.up(), " vlan ", vf["vlan_list"], " trust ", vf["trust"], " mac ", vf["address"])
}

// tenant sets on the PF what the next pod requested.
func (a *attached) tenant(card int) {
	a.t.Helper()
	pf, err := topology.Netdev(a.cards[card].PF.PCI)
	kit.Must(a.t, err)
	a.ip("link", "set", pf, "vf", "0", "vlan", "200")
	a.t.Cleanup(func() { a.ip("link", "set", pf, "vf", "0", "vlan", "0") })
}

func (a *attached) back(card int) {
	a.t.Helper()
	a.wait("the VF to be back in the bond", func() bool {
		a.converge()
		l := a.links()[fmt.Sprintf("net%d", card+1)]
		return l != nil && l.Master == "bond0"
	})
}

// TestReleasedBySriovCNI: a VF belongs to the pod only while sriov-cni's files name the pod.
func TestReleasedBySriovCNI(t *testing.T) {
	t.Run("a lost VF heals", func(t *testing.T) {
		a := newAttached(t, sriovstub.Locking)
		a.add()
		if files := a.record().Members[0].SriovCNI; files == nil || files.Claim == "" {
			t.Fatalf("recorded: %+v", files)
		}
		a.lose(0)
		a.back(0)
		if vf := a.onPF(0); fmt.Sprint(vf["vlan_list"], vf["trust"]) != "[map[vlan:100]] true" {
			t.Errorf("on the PF: %v", vf)
		}
		a.must("DEL")
		a.detach(1, 0)
	})
	t.Run("DEL failed once in IPAM", func(t *testing.T) {
		a := newAttached(t, sriovstub.Locking)
		a.add()
		failDEL := a.netnsFiles() + "/fail-del"
		kit.Must(t, os.WriteFile(failDEL, nil, 0o600))
		if _, err := a.verb("DEL"); err == nil {
			t.Fatal("DEL succeeded without IPAM")
		}
		a.detach(1, 0)
		a.tenant(0)
		was := []string{a.shown(0), a.shown(1)}
		a.converge()
		kit.Must(t, os.Remove(failDEL))
		a.must("DEL")
		a.gone()
		for i, s := range was {
			if now := a.shown(i); now != s || !strings.HasPrefix(now, fmt.Sprintf("orig%d ", i)) {
				t.Errorf("the VF is %s, was %s", now, s)
			}
		}
	})
	t.Run("the record is still ready", func(t *testing.T) {
		a := newAttached(t, sriovstub.Locking)
		a.add()
		a.detach(0)
		a.tenant(0)
		was := a.shown(0)
		for range 3 {
			out := a.converge()
			if out.Status.State == bond.StateReady || !strings.Contains(out.Status.Reason, "returned to its owner") {
				t.Errorf("%s: %s", out.Status.State, out.Status.Reason)
			}
		}
		if now := a.shown(0); now != was || !strings.HasPrefix(now, "orig0 ") {
			t.Errorf("the VF is %s, was %s", now, was)
		}
		a.must("DEL")
		a.detach(1)
		if now := a.shown(0); now != was {
			t.Errorf("after DEL the VF is %s, was %s", now, was)
		}
	})
	t.Run("a VF lost at DEL", func(t *testing.T) {
		a := newAttached(t, sriovstub.Locking)
		a.add()
		a.lose(0)
		a.must("DEL")
		a.detach(1, 0)
		if now := a.shown(0); !strings.HasPrefix(now, "orig0 ") || strings.Contains(now, "02:00:00:00:00:11") || strings.Contains(now, "vlan:100") {
			t.Errorf("the VF is %s", now)
		}
	})
}

// TestSriovCNIWorksWhileTheAgentDoes: its DEL sets the VF down, renames it and moves it away, under its lock. An agent
// whose record is still ready must not interfere.
func TestSriovCNIWorksWhileTheAgentDoes(t *testing.T) {
	for range 5 {
		a := newAttached(t, sriovstub.Locking)
		a.add()
		e := a.engine()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				_, _ = e.Converge(ctx, a.key()) // busy while sriov-cni has the lock
			}
		}()
		a.detach(1, 0)
		cancel()
		<-done
		a.converge()
		for i := range a.cards {
			if now := a.shown(i); !strings.HasPrefix(now, fmt.Sprintf("orig%d ", i)) {
				t.Errorf("the VF is %s", now)
			}
		}
		a.must("DEL")
	}
}

// TestSriovCNIWithoutClaims: releases before 2.7 have only the cache.
func TestSriovCNIWithoutClaims(t *testing.T) {
	a := newAttached(t, sriovstub.Caching)
	a.add()
	if files := a.record().Members[0].SriovCNI; files == nil || files.Claim != "" {
		t.Fatalf("recorded: %+v", files)
	}
	a.lose(0)
	a.back(0)
	a.detach(0)
	was := a.shown(0)
	a.converge()
	if now := a.shown(0); now != was || !strings.HasPrefix(now, "orig0 ") {
		t.Errorf("the VF is %s, was %s", now, was)
	}
	a.must("DEL")
	a.detach(1)
}
