// Command multus stands in for Multus in tests, for Multus is not a Go module that can be fetched. As the node's only
// CNI plugin it attaches a pod to the cluster network and then to the networks of the pod's annotation. It reads the
// same config as the thin Multus and does what docs/peers.md lists, numbered as there (M1 and so on).
//
// It does not read device plugins' assignments or default networks, and it sends no events.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// config is the plugin's own network config.
type config struct {
	types.PluginConf
	// Kubeconfig leads to the API server; without it only Delegates are attached.
	Kubeconfig string `json:"kubeconfig"`
	// Delegates are network configs; the first one is the cluster network's.
	Delegates []json.RawMessage `json:"delegates"`
	// CNIDir keeps the delegates of each sandbox, and libcni's results below it.
	CNIDir string `json:"cniDir"`
	// BinDir is where the delegates' plugins are.
	BinDir string `json:"binDir"`
	// OtherDefaultRoutes makes `default-route` behave as in the releases that leave other default routes (M5). Multus
	// itself has no such field.
	OtherDefaultRoutes bool `json:"keepDefaultRoutes"`
}

func main() {
	skel.PluginMainFuncs(skel.CNIFuncs{
		Add:    func(args *skel.CmdArgs) error { return run(args, (*config).add) },
		Del:    func(args *skel.CmdArgs) error { return run(args, (*config).del) },
		Check:  func(args *skel.CmdArgs) error { return run(args, (*config).check) },
		Status: func(args *skel.CmdArgs) error { return run(args, (*config).status) },
		GC:     func(args *skel.CmdArgs) error { return run(args, (*config).gc) },
	}, version.All, "multus: stands in for Multus in tests")
}

func run(args *skel.CmdArgs, verb func(*config, context.Context, *skel.CmdArgs) error) error {
	c := &config{CNIDir: "/var/lib/cni/multus", BinDir: "/opt/cni/bin"}
	if err := json.Unmarshal(args.StdinData, c); err != nil {
		return fmt.Errorf("network config: %w", err)
	}
	if len(c.Delegates) == 0 {
		return errors.New("network config: no delegates")
	}
	for _, pair := range strings.Split(args.Args, ";") { // M3
		if pair != "" && strings.Count(pair, "=") != 1 {
			return fmt.Errorf("CNI_ARGS: invalid pair %q", pair)
		}
	}
	return verb(c, context.Background(), args)
}

func (c *config) add(ctx context.Context, args *skel.CmdArgs) error {
	pod, err := c.findPod(ctx, args.Args)
	if errors.Is(err, errNoPod) { // M9
		return types.PrintResult(emptyResult(args), c.CNIVersion)
	}
	if err != nil {
		return err
	}
	delegates, err := c.delegates(ctx, pod)
	if err != nil {
		return err
	}
	if err = c.save(args.ContainerID, delegates); err != nil { // M2: before the first delegate runs
		return err
	}
	var first types.Result
	var entries []networkStatus
	for i, d := range delegates { // M1
		result, err := c.attach(ctx, args, d, i)
		if err != nil {
			_ = c.detach(ctx, args, delegates[:i+1]) // M7
			return fmt.Errorf("add %s to network %q: %w", d.ifName(args, i), d.Name, err)
		}
		if err = c.setDefaultRoutes(args, d, i, result); err != nil {
			return err
		}
		if first == nil {
			first = result
		}
		entry, err := statusOf(d, result)
		if err != nil {
			return err
		}
		entries = append(entries, entry)
	}
	if pod != nil {
		if err := pod.writeStatus(ctx, entries); err != nil { // M6
			return err
		}
	}
	return types.PrintResult(first, c.CNIVersion)
}

// del detaches what is on file, and without a file what the pod's annotation lists now.
func (c *config) del(ctx context.Context, args *skel.CmdArgs) error {
	delegates, err := c.load(args.ContainerID)
	if err != nil {
		pod, _ := c.findPod(ctx, args.Args) // the API server is not needed for DEL
		if !errors.Is(err, os.ErrNotExist) || pod == nil {
			return nil // M10
		}
		if delegates, err = c.delegates(ctx, pod); err != nil {
			return err
		}
		return c.detach(ctx, args, delegates)
	}
	err = c.detach(ctx, args, delegates)
	_ = os.Remove(c.file(args.ContainerID)) // M8: whatever the delegates returned
	return err
}

// M11: CHECK, STATUS and GC reach the delegates of the config only.
func (c *config) check(ctx context.Context, args *skel.CmdArgs) error {
	for i, raw := range c.Delegates {
		d, err := newDelegate(raw, selection{})
		if err != nil {
			return err
		}
		if err := c.cni().CheckNetworkList(ctx, d.list, d.runtimeConf(args, i)); err != nil {
			return err
		}
	}
	return nil
}

func (c *config) status(ctx context.Context, _ *skel.CmdArgs) error {
	d, err := newDelegate(c.Delegates[0], selection{})
	if err != nil {
		return err
	}
	return c.cni().GetStatusNetworkList(ctx, d.list)
}

func (c *config) gc(ctx context.Context, _ *skel.CmdArgs) error {
	d, err := newDelegate(c.Delegates[0], selection{})
	if err != nil {
		return err
	}
	cached, err := c.cni().GetCachedAttachments("")
	if err != nil {
		return err
	}
	var valid []types.GCAttachment
	for _, a := range cached {
		valid = append(valid, types.GCAttachment{ContainerID: a.ContainerID, IfName: a.IfName})
	}
	return c.cni().GCNetworkList(ctx, d.list, &libcni.GCArgs{ValidAttachments: valid})
}

// emptyResult is the result for a pod that the API server does not have.
func emptyResult(args *skel.CmdArgs) *current.Result {
	return &current.Result{
		CNIVersion: current.ImplementedSpecVersion,
		Interfaces: []*current.Interface{{Name: args.IfName, Sandbox: args.Netns}},
		IPs:        []*current.IPConfig{{Address: net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Gateway: net.IPv4zero}},
	}
}

// detach deletes attachments in reverse order and goes on after an error (M8). It returns all errors.
func (c *config) detach(ctx context.Context, args *skel.CmdArgs, delegates []*delegate) error {
	var failed []string
	for i := len(delegates) - 1; i >= 0; i-- {
		d := delegates[i]
		if err := c.cni().DelNetworkList(ctx, d.list, d.runtimeConf(args, i)); err != nil {
			failed = append(failed, fmt.Sprintf("delete %s from network %q: %v", d.ifName(args, i), d.Name, err))
		}
	}
	if failed == nil {
		return nil
	}
	return errors.New(strings.Join(failed, " / "))
}
