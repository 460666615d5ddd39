//go:build lab

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// If a plugin before the bond creates CNI_IFNAME, the name is taken: "ifname" in a config is ignored, as today's plugin
// does. The error names the link, which stays unchanged. Chains that work are in test/chains.
func TestChainInTheLab(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	list, err := libcni.ConfListFromBytes([]byte(fmt.Sprintf(`{"cniVersion":"1.1.0","name":"lab","plugins":[
		{"type":"ptp","mtu":1450,"ipam":{"type":"host-local","dataDir":%[2]q,"subnet":"198.51.100.0/24"}},
		{"type":"bond","ifname":"bond7","stateDir":%[1]q,"linksInContainer":true,"links":[{"name":"net1"},{"name":"net2"}],"mode":1,"failOverMac":1}]}`, p.state, p.data())))
	kit.Must(t, err)
	rt := p.runtime("eth0")
	if _, err = p.cni.AddNetworkList(t.Context(), list, rt); err == nil || !strings.Contains(err.Error(), "the pod has a link eth0 already") {
		t.Errorf("ADD behind a plugin that made eth0: %v", err)
	}
	if l := p.links(); l["eth0"] == nil || l["eth0"].LinkInfo.Kind != "veth" || l["net1"].Master != "" {
		t.Errorf("the pod has %v", l)
	}
	if err := p.cni.DelNetworkList(t.Context(), list, rt); err != nil {
		t.Errorf("DEL: %v", err)
	}
	p.nothingLeft(before)
}
