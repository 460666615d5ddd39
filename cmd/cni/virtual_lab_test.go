//go:build lab

package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// linkOfHost is what ip says of a link of the host; nil if there is none.
func (p *pod) linkOfHost(name string) *hostLink {
	p.t.Helper()
	out, err := exec.Command("ip", "-d", "-j", "link", "show", "dev", name).Output()
	if err != nil {
		return nil
	}
	var list []*hostLink
	if err := json.Unmarshal(out, &list); err != nil || len(list) != 1 {
		p.t.Fatalf("ip says %s: %v", out, err)
	}
	return list[0]
}

type hostLink struct {
	linkJSON
	Index int `json:"ifindex"`
}

// virtualKinds are links that a network config may name in the host, and how ip makes one.
var virtualKinds = map[string]func(name string) [][]string{
	"dummy": func(name string) [][]string { return [][]string{{"link", "add", name, "type", "dummy"}} },
	"veth": func(name string) [][]string {
		return [][]string{{"link", "add", name, "type", "veth", "peer", "name", "p-" + name}, {"link", "set", "p-" + name, "up"}}
	},
	"macvlan": func(name string) [][]string {
		return [][]string{{"link", "add", name, "link", "bklower", "type", "macvlan", "mode", "bridge"}}
	},
	"vlan": func(name string) [][]string {
		return [][]string{{"link", "add", name, "link", "bklower", "type", "vlan", "id", strings.TrimPrefix(name, "bkm")}}
	},
}

// TestVirtualLinksFromTheHost: each kind is moved into the pod and back as it was. A link of the pod that has the ifindex of
// one in the host is not touched, and neither is one that the pod puts in a member's place.
func TestVirtualLinksFromTheHost(t *testing.T) {
	for kind, how := range virtualKinds {
		t.Run(kind, func(t *testing.T) {
			p := newPod(t)
			p.ip("link", "add", "bklower", "type", "dummy")
			t.Cleanup(func() { p.ip("link", "del", "bklower") })
			p.ip("link", "set", "bklower", "up")
			was := map[string]*hostLink{}
			for i, name := range []string{"bkm1", "bkm2"} {
				for _, args := range how(name) {
					p.ip(args...)
				}
				t.Cleanup(func() { _ = exec.Command("ip", "link", "del", name).Run() })
				was[name] = p.linkOfHost(name)
				// The pod's own link with the ifindex that the member has in the host.
				p.ip("-n", p.name, "link", "add", fmt.Sprintf("own%d", i), "index", fmt.Sprint(was[name].Index), "type", "dummy")
				p.ip("-n", p.name, "link", "set", fmt.Sprintf("own%d", i), "up")
			}
			before := p.links()
			conf := p.config("1.0.0", `"mode":1,"failOverMac":1,"linksInContainer":false,"links":[{"name":"bkm1"},{"name":"bkm2"}],"ipam":{}`)
			p.add(conf, "bond0")
			links := p.links()
			for name := range was {
				if l := links[name]; l == nil || l.Master != "bond0" || !l.up() {
					t.Errorf("%s in the pod: %+v", name, l)
				}
			}
			if own := links["own0"]; own == nil || own.Master != "" || !own.up() {
				t.Errorf("the pod's own link: %+v", own)
			}
			p.del(conf, "bond0")
			p.likeBefore(before)
			for name, b := range was {
				if l := p.linkOfHost(name); l == nil || l.Address != b.Address || l.MTU != b.MTU || l.LinkInfo.Kind != kind || l.Index != b.Index {
					t.Errorf("%s in the host: %+v; it was %+v", name, l, b)
				}
			}
			p.add(conf, "bond0")
			p.replace("bkm1")
			p.del(conf, "bond0")
			if l := p.linkOfHost("bkm1"); l != nil {
				t.Errorf("the pod's own link is in the host: %+v", l)
			}
			if l := p.links()["bkm1"]; l == nil || l.Master != "" {
				t.Errorf("the pod's own link in the pod: %+v", l)
			}
			if l := p.linkOfHost("bkm2"); l == nil || l.Index != was["bkm2"].Index {
				t.Errorf("bkm2 in the host: %+v", l)
			}
		})
	}
}

// replace deletes a member and makes a dummy in its place, as like it as a pod can make it.
func (p *pod) replace(name string) {
	p.t.Helper()
	var list []struct {
		Index   int    `json:"ifindex"`
		Address string `json:"address"`
	}
	out := p.ip("-n", p.name, "-j", "link", "show", "dev", name)
	if err := json.Unmarshal(out, &list); err != nil || len(list) != 1 {
		p.t.Fatalf("ip says %s: %v", out, err)
	}
	p.ip("-n", p.name, "link", "del", name)
	p.ip("-n", p.name, "link", "add", name, "index", fmt.Sprint(list[0].Index), "address", list[0].Address, "type", "dummy")
	p.ip("-n", p.name, "link", "set", name, "master", "bond0")
}

// TestSameMACsInTheLab: links that had one MAC before ADD have different ones after DEL.
func TestSameMACsInTheLab(t *testing.T) {
	p := newPod(t)
	for _, name := range []string{"net1", "net2"} {
		p.ip("-n", p.name, "link", "add", name, "address", "02:00:00:00:00:aa", "type", "dummy")
	}
	for _, fields := range []string{`"mode":1,"failOverMac":1`, `"mode":1`, `"mode":5`} {
		p.ip("-n", p.name, "link", "set", "net2", "address", "02:00:00:00:00:aa")
		conf := p.config("1.0.0", fields)
		p.add(conf, "bond0")
		p.del(conf, "bond0")
		if l := p.links(); l["net1"].Address != "02:00:00:00:00:aa" || l["net2"].Address == l["net1"].Address {
			t.Errorf("%s: after DEL: %s and %s", fields, l["net1"].Address, l["net2"].Address)
		}
	}
}
