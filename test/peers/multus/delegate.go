package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// delegate is one network of a pod, as it is kept on file.
type delegate struct {
	// Name is namespace/name of a NetworkAttachmentDefinition, or the config's own name.
	Name      string          `json:"name"`
	Config    json.RawMessage `json:"config"`
	Requested selection       `json:"asked"`
	// Filter is set on all networks of a pod that chose its default route for one of them.
	Filter bool `json:"filter,omitempty"`
	list   *libcni.NetworkConfigList
}

// newDelegate reads a config of one plugin or of a list.
func newDelegate(raw []byte, requested selection) (*delegate, error) {
	d := &delegate{Config: raw, Requested: requested}
	if err := d.parse(); err != nil {
		return nil, err
	}
	d.Name = d.list.Name
	if requested.Name != "" {
		d.Name = requested.Namespace + "/" + requested.Name
	}
	return d, nil
}

func (d *delegate) parse() (err error) {
	var c struct {
		Name       string          `json:"name"`
		CNIVersion string          `json:"cniVersion"`
		Plugins    json.RawMessage `json:"plugins"`
	}
	if err = json.Unmarshal(d.Config, &c); err != nil {
		return fmt.Errorf("network config: %w", err)
	}
	list := []byte(d.Config)
	if c.Plugins == nil {
		list, err = json.Marshal(map[string]any{"name": c.Name, "cniVersion": c.CNIVersion, "plugins": []json.RawMessage{d.Config}})
		if err != nil {
			return err
		}
	}
	d.list, err = libcni.NetworkConfFromBytes(list)
	return err
}

// ifName is the name asked for, or by the place among all of the pod's networks (M1).
func (d *delegate) ifName(args *skel.CmdArgs, place int) string {
	switch {
	case d.Requested.Interface != "":
		return d.Requested.Interface
	case place == 0:
		return args.IfName
	}
	return fmt.Sprintf("net%d", place)
}

// runtimeConf passes on the sandbox and the pod's identity, and after it all of the caller's CNI_ARGS (M3).
func (d *delegate) runtimeConf(args *skel.CmdArgs, place int) *libcni.RuntimeConf {
	given := cniArgs(args.Args)
	rt := &libcni.RuntimeConf{
		ContainerID: args.ContainerID, NetNS: args.Netns, IfName: d.ifName(args, place), CapabilityArgs: map[string]any{},
		Args: [][2]string{{"IgnoreUnknown", "true"}},
	}
	for _, name := range []string{"K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID"} {
		rt.Args = append(rt.Args, [2]string{name, given[name]})
	}
	for _, pair := range strings.Split(args.Args, ";") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			rt.Args = append(rt.Args, [2]string{k, v})
		}
	}
	if len(d.Requested.IPs) > 0 {
		rt.CapabilityArgs["ips"] = d.Requested.IPs
	}
	if d.Requested.MAC != "" {
		rt.CapabilityArgs["mac"] = d.Requested.MAC
		rt.Args = append(rt.Args, [2]string{"MAC", d.Requested.MAC})
	}
	return rt
}

func cniArgs(text string) map[string]string {
	args := map[string]string{}
	for _, pair := range strings.Split(text, ";") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			args[k] = v
		}
	}
	return args
}

// delegates are the networks of the config and, with a pod, those of its annotation.
func (c *config) delegates(ctx context.Context, p *pod) ([]*delegate, error) {
	var all []*delegate
	for _, raw := range c.Delegates {
		d, err := newDelegate(raw, selection{})
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	if p != nil {
		requested, err := p.networks(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, requested...)
	}
	return all, markDefaultRoutes(all)
}

// attach runs a delegate's ADD. A name that is taken in the sandbox fails it before (M4).
func (c *config) attach(ctx context.Context, args *skel.CmdArgs, d *delegate, place int) (types.Result, error) {
	rt := d.runtimeConf(args, place)
	err := inNetns(args.Netns, func(h *netlink.Handle) error {
		if _, err := h.LinkByName(rt.IfName); err == nil {
			return fmt.Errorf("interface name %s already exists", rt.IfName)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.cni().AddNetworkList(ctx, d.list, rt)
}

func (c *config) cni() *libcni.CNIConfig {
	path := append([]string{c.BinDir}, filepath.SplitList(os.Getenv("CNI_PATH"))...)
	return libcni.NewCNIConfigWithCacheDir(path, c.CNIDir, nil)
}

func (c *config) file(containerID string) string { return filepath.Join(c.CNIDir, containerID) }

// save keeps what DEL needs (M2).
func (c *config) save(containerID string, delegates []*delegate) error {
	data, err := json.Marshal(delegates)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.CNIDir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(c.file(containerID), data, 0o600)
}

func (c *config) load(containerID string) ([]*delegate, error) {
	data, err := os.ReadFile(c.file(containerID))
	if err != nil {
		return nil, err
	}
	var all []*delegate
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	for _, d := range all {
		if err := d.parse(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// selection is one entry of the annotation with a pod's networks.
type selection struct {
	Name         string   `json:"name"`
	Namespace    string   `json:"namespace,omitempty"`
	Interface    string   `json:"interface,omitempty"`
	IPs          []string `json:"ips,omitempty"`
	MAC          string   `json:"mac,omitempty"`
	DefaultRoute []net.IP `json:"default-route,omitempty"`
}

// inNetns calls f with a netlink handle of a sandbox.
func inNetns(path string, f func(*netlink.Handle) error) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	return f(h)
}
