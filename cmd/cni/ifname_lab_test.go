//go:build lab

package main

import (
	"errors"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// TestIfNameInTheLab: a config's ifname is ignored; the runtime's name is the bond's.
func TestIfNameInTheLab(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	conf := p.config("1.0.0", `"mode":1,"failOverMac":1,"ifname":"other0"`)
	p.add(conf, "bond0")
	if l := p.links(); l["bond0"] == nil || l["other0"] != nil {
		t.Errorf("links: %v", l)
	}
	if err := p.cni.CheckNetwork(t.Context(), conf, p.runtime("bond0")); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	p.del(conf, "bond0")
	p.likeBefore(before)
}

// TestStatusInTheLab: a runtime learns by code 50 that no ADD can work.
func TestStatusInTheLab(t *testing.T) {
	p := newPod(t)
	status := func(ipam string) error {
		conf := p.config("1.1.0", `"mode":1,"ipam":`+ipam)
		list, err := libcni.NetworkConfFromBytes([]byte(`{"cniVersion":"1.1.0","name":"lab","plugins":[` + string(conf.Bytes) + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		return p.cni.GetStatusNetworkList(t.Context(), list)
	}
	if err := status(`{"type":"static"}`); err != nil {
		t.Errorf("STATUS: %v", err)
	}
	var coded *types.Error
	if err := status(`{"type":"missing"}`); !errors.As(err, &coded) || coded.Code != types.ErrPluginNotAvailable {
		t.Errorf("STATUS without its IPAM plugin: %v", err)
	}
}
