package cni

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

func TestCheck(t *testing.T) {
	tests := []struct {
		name   string
		change func(n *node, pod string) error
		args   func(n *node, args *skel.CmdArgs)
		code   uint // 0: CHECK passes
		texts  []string
	}{
		{name: "untouched"},
		{name: "member without carrier", change: func(n *node, _ string) error { return n.SetPFCarrier("pf0", false) }},
		{name: "pod added an address", change: func(n *node, pod string) error {
			return n.AddAddress(pod, "bond0", netip.MustParsePrefix("192.0.2.9/24"))
		}},
		{name: "bond deleted", change: func(n *node, pod string) error { return n.DeleteBond(pod, "bond0") }, code: 999, texts: []string{"bond0", "demo/c1"}},
		{name: "member released", change: func(n *node, pod string) error { return n.Release(pod, "net1") }, code: 999, texts: []string{"net1"}},
		{name: "member lost", change: func(n *node, _ string) error { return n.UnbindVF(n.VFs("pf0")[0]) }, code: 999, texts: []string{"net1", "0000:01:10.0"}},
		{name: "bond down", change: func(n *node, pod string) error { return n.SetDown(pod, "bond0") }, code: 999, texts: []string{"down"}},
		{name: "addresses gone", change: func(n *node, pod string) error { return n.FlushAddresses(pod, "bond0") }, code: 999, texts: []string{"10.56.217.2/24"}},
		{name: "MTU changed", change: func(n *node, pod string) error { n.CompleteSetup("c1"); return n.SetMTU(pod, "bond0", 1280) }, code: 999, texts: []string{"1280", "1500"}},
		{name: "MTU changed in set-up", change: func(n *node, pod string) error { return n.SetMTU(pod, "bond0", 1280) }},
		{name: "route deleted", change: func(n *node, pod string) error { n.CompleteSetup("c1"); return n.FlushRoutes(pod, "bond0") }, code: 999, texts: []string{"0.0.0.0/0"}},
		{name: "route deleted in set-up, as Multus does", change: func(n *node, pod string) error { return n.FlushRoutes(pod, "bond0") }},
		{name: "lease gone", change: func(n *node, _ string) error { return os.RemoveAll(filepath.Join(n.Data, "bond-net1")) }, code: 999, texts: []string{"IPAM host-local CHECK"}},
		{name: "other netns", args: func(n *node, args *skel.CmdArgs) { args.Netns = n.Pod("p2", 1) }, code: types.ErrInvalidNetNS, texts: []string{"CNI_NETNS", "p1", "p2"}},
		{name: "never added", args: func(_ *node, args *skel.CmdArgs) { args.ContainerID = "c9" }, code: types.ErrUnknownContainer, texts: []string{"c9@bond0"}},
		{name: "prevResult has another address", args: func(n *node, args *skel.CmdArgs) {
			n.editPrev(args, func(r *current.Result) { r.IPs[0].Address.IP = net.IPv4(10, 56, 217, 99) })
		}, code: 999, texts: []string{"10.56.217.99/24", "10.56.217.2/24"}},
		{name: "prevResult has another MAC", args: func(n *node, args *skel.CmdArgs) {
			n.editPrev(args, func(r *current.Result) { r.Interfaces[0].Mac = "02:00:00:00:00:77" })
		}, code: 999, texts: []string{"02:00:00:00:00:77"}},
		{name: "prevResult has no bond", args: func(n *node, args *skel.CmdArgs) {
			n.editPrev(args, func(r *current.Result) { r.Interfaces[0].Name = "eth0" })
		}, code: types.ErrInvalidNetworkConfig, texts: []string{"prevResult.interfaces", "bond0"}},
		{name: "no prevResult", args: func(n *node, args *skel.CmdArgs) { args.StdinData = n.Config(nil) }, code: types.ErrInvalidNetworkConfig, texts: []string{"prevResult"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, 2)
			args, _ := n.OnePod(nil)
			args.StdinData = n.WithPrev(args.StdinData, n.MustAdd(args))
			if tt.change != nil {
				n.Must(tt.change(n, args.Netns))
			}
			if tt.args != nil {
				tt.args(n, args)
			}
			changes := n.Changes()
			err := n.plugin.Funcs().Check(args)
			if tt.code == 0 {
				n.Must(err)
			} else {
				cnitest.WantError(t, err, tt.code, tt.texts...)
			}
			if n.Changes() != changes {
				t.Errorf("CHECK changed something: %v", n.ChangeLog()[changes:])
			}
		})
	}
}

// TestCheckOfAcceptedChanges: CHECK accepts what another writer has changed after set-up if the agent does.
func TestCheckOfAcceptedChanges(t *testing.T) {
	for name, change := range map[string]func(n *node, pod string) error{
		"MTU":     func(n *node, pod string) error { return n.SetMTU(pod, "bond0", 1280) },
		"address": func(n *node, pod string) error { return n.FlushAddresses(pod, "bond0") },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, 1)
			args, _ := n.OnePod(map[string]any{"enforce": "links"})
			result := n.MustAdd(args)
			n.CompleteSetup("c1")
			n.Must(change(n, args.Netns))
			if out := n.Converge("c1"); out.Status.State != bond.StateReady {
				t.Fatalf("%s: %s", out.Status.State, out.Status.Reason)
			}
			n.MustCheck(args, result)
		})
	}
}

// TestCheckAfterFailover: the bond correctly has the other member's MAC now.
func TestCheckAfterFailover(t *testing.T) {
	n := newNode(t, 1)
	args, _ := n.OnePod(nil)
	result := n.MustAdd(args)
	n.Must(n.SetPFCarrier("pf0", false))
	if mac := n.LinkAt(args.Netns, "bond0").MAC; string(mac) == result.Interfaces[0].Mac {
		t.Fatalf("no failover: %s", n.Fake)
	}
	args.StdinData = n.WithPrev(args.StdinData, result)
	n.Must(n.plugin.Funcs().Check(args))
}

func (n *node) editPrev(args *skel.CmdArgs, edit func(*current.Result)) {
	n.Helper()
	c, err := ParseConfig(args.StdinData, Args{})
	n.Must(err)
	edit(c.Prev)
	args.StdinData = n.WithPrev(args.StdinData, c.Prev)
}
