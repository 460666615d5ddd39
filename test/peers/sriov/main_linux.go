// Command sriov stands in for sriov-cni in tests; test/sriovstub does its work. docs/peers.md lists what it does,
// numbered S1 and so on. IPAM is left out: bonded VFs have no addresses.
package main

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/bondkeeper/bondkeeper/test/sriovstub"
)

func main() {
	skel.PluginMainFuncs(skel.CNIFuncs{
		Add: add,
		Del: func(args *skel.CmdArgs) error { return plugin.Del(of(args)) },
		// S14: CHECK checks nothing, and there is no STATUS and no GC.
		Check: func(*skel.CmdArgs) error { return nil },
	}, version.All, "sriov: stands in for sriov-cni in tests")
}

var plugin = sriovstub.Plugin{}

func of(args *skel.CmdArgs) sriovstub.Args {
	return sriovstub.Args{ContainerID: args.ContainerID, Netns: args.Netns, IfName: args.IfName}
}

func add(args *skel.CmdArgs) error {
	var c map[string]any
	if err := json.Unmarshal(args.StdinData, &c); err != nil {
		return err
	}
	if ipam, _ := c["ipam"].(map[string]any); ipam["type"] != nil {
		return errors.New("the stand-in has no IPAM")
	}
	for _, pair := range strings.Split(args.Args, ";") {
		if k, v, _ := strings.Cut(pair, "="); k == "MAC" && v != "" {
			c["MAC"] = v
		}
	}
	stdin, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err = plugin.Add(of(args), stdin); err != nil {
		return err
	}
	made, err := plugin.Cached(of(args))
	if err != nil {
		return err
	}
	link := &current.Interface{Name: args.IfName, Sandbox: args.Netns, Mac: made.MAC, Mtu: *made.MTU}
	if link.Mac == "" {
		link.Mac = made.OrigVfState.EffectiveMAC
	}
	return types.PrintResult(&current.Result{CNIVersion: current.ImplementedSpecVersion, Interfaces: []*current.Interface{link}}, made.CNIVersion)
}
