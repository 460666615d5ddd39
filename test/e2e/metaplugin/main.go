// Command metaplugin stands in for Multus in the end-to-end tests, for Multus itself is not a Go module that can
// be fetched. As the node's only CNI plugin it gives a pod its cluster network and then, in the order of the pod's
// annotation k8s.v1.cni.cncf.io/networks, what the NetworkAttachmentDefinitions say, with the arguments that Multus
// passes on; at the end of ADD it writes network-status, whole and once. DEL goes in the reverse order.
//
// It does of Multus' work what the tests see, by the public specification of the Network Plumbing Working Group, and
// nothing more: no device plugin, no CHECK, no default-route.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	// Kubeconfig leads to the API server.
	Kubeconfig string `json:"kubeconfig"`
	// Cluster is the config of the cluster network.
	Cluster json.RawMessage `json:"cluster"`
	// Dir keeps what DEL needs, a file a sandbox.
	Dir string `json:"dir"`
	// Bin is where the delegates' plugins are.
	Bin string `json:"bin"`
}

func main() {
	skel.PluginMainFuncs(skel.CNIFuncs{Add: add, Del: del}, version.All, "metaplugin: stands in for Multus in tests")
}

func load(args *skel.CmdArgs) (*config, error) {
	c := new(config)
	if err := json.Unmarshal(args.StdinData, c); err != nil {
		return nil, fmt.Errorf("network config: %w", err)
	}
	return c, nil
}

// attachment is one network of a pod.
type attachment struct {
	IfName string          `json:"ifName"`
	Config json.RawMessage `json:"config"`
}

func add(args *skel.CmdArgs) error {
	ctx := context.Background()
	c, err := load(args)
	if err != nil {
		return err
	}
	pod, err := findPod(ctx, c.Kubeconfig, args.Args)
	if err != nil {
		return err
	}
	all := []attachment{{IfName: args.IfName, Config: c.Cluster}}
	networks, err := pod.attachments(ctx)
	if err != nil {
		return err
	}
	all = append(all, networks...)
	if err = c.save(args.ContainerID, all); err != nil {
		return err
	}
	results := make([]*current.Result, 0, len(all))
	for _, a := range all {
		result, err := c.attach(ctx, args, a)
		if err != nil {
			return errors.Join(err, c.detachAll(ctx, args))
		}
		results = append(results, result)
	}
	if err := pod.writeStatus(ctx, all, results); err != nil {
		return errors.Join(err, c.detachAll(ctx, args))
	}
	return types.PrintResult(results[0], c.CNIVersion)
}

func del(args *skel.CmdArgs) error {
	c, err := load(args)
	if err != nil {
		return err
	}
	return c.detachAll(context.Background(), args)
}

func (c *config) attach(ctx context.Context, args *skel.CmdArgs, a attachment) (*current.Result, error) {
	conf, err := libcni.NetworkPluginConfFromBytes(a.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.IfName, err)
	}
	raw, err := c.cni().AddNetwork(ctx, conf, runtimeConf(args, a.IfName))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.IfName, err)
	}
	return current.NewResultFromResult(raw)
}

// detachAll takes everything away in reverse order. What it cannot take away stays on file, for another DEL.
func (c *config) detachAll(ctx context.Context, args *skel.CmdArgs) error {
	data, err := os.ReadFile(c.file(args.ContainerID))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var all []attachment
	if err = json.Unmarshal(data, &all); err != nil {
		return err
	}
	var errs []error
	for i := len(all) - 1; i >= 0; i-- {
		conf, err := libcni.NetworkPluginConfFromBytes(all[i].Config)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := c.cni().DelNetwork(ctx, conf, runtimeConf(args, all[i].IfName)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", all[i].IfName, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.Remove(c.file(args.ContainerID))
}

func (c *config) file(containerID string) string { return filepath.Join(c.Dir, containerID) }

func (c *config) save(containerID string, all []attachment) error {
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(c.file(containerID), data, 0o600)
}

func (c *config) cni() *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir([]string{c.Bin}, filepath.Join(c.Dir, "results"), nil)
}

// runtimeConf hands the sandbox and the pod's identity on, as Multus does.
func runtimeConf(args *skel.CmdArgs, ifName string) *libcni.RuntimeConf {
	rt := &libcni.RuntimeConf{ContainerID: args.ContainerID, NetNS: args.Netns, IfName: ifName}
	for _, pair := range strings.Split(args.Args, ";") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			rt.Args = append(rt.Args, [2]string{k, v})
		}
	}
	return rt
}
