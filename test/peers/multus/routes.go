package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// markDefaultRoutes marks all networks of a pod where one of them is to have the default route.
func markDefaultRoutes(all []*delegate) error {
	gateways := map[bool]int{} // by whether they are IPv4
	for _, d := range all {
		for _, gw := range d.Requested.DefaultRoute {
			gateways[gw.To4() != nil]++
		}
	}
	if gateways[true] > 1 || gateways[false] > 1 {
		return errors.New("default-route: more than one gateway of a family")
	}
	for _, d := range all {
		d.Filter = len(gateways) > 0
	}
	return nil
}

// setDefaultRoutes runs after each delegate's ADD: in a pod that chose a default route it deletes the default routes
// of the delegate's interface, of both families, and then adds the chosen ones (M5). Both are written to the delegate's
// cached result, too.
func (c *config) setDefaultRoutes(args *skel.CmdArgs, d *delegate, place int, result types.Result) error {
	res, err := current.NewResultFromResult(result)
	if !d.Filter || err != nil || res.Interfaces == nil && res.IPs == nil {
		return nil
	}
	name := d.ifName(args, place)
	failed := inNetns(args.Netns, func(h *netlink.Handle) error {
		link, err := h.LinkByName(name)
		if err != nil {
			return err
		}
		if !c.OtherDefaultRoutes {
			if err := deleteDefaultRoutes(h, link); err != nil {
				return err
			}
		}
		for _, gw := range d.Requested.DefaultRoute {
			err := h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gw})
			if err != nil && !errors.Is(err, unix.EEXIST) { // one by another interface stays, and this one is not added
				return err
			}
		}
		return nil
	})
	if failed != nil {
		return fmt.Errorf("default routes of %s: %w", name, failed)
	}
	file := filepath.Join(c.CNIDir, "results", fmt.Sprintf("%s-%s-%s", d.list.Name, args.ContainerID, name))
	return rewriteRoutes(file, d.Requested.DefaultRoute)
}

func deleteDefaultRoutes(h *netlink.Handle, link netlink.Link) error {
	routes, err := h.RouteList(link, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones > 0 {
				continue
			}
		}
		if err := h.RouteDel(&r); err != nil {
			return err
		}
	}
	return nil
}

// rewriteRoutes takes the IPv4 default routes out of a cached result and adds the chosen ones.
func rewriteRoutes(file string, gateways []net.IP) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var cached map[string]any
	if err = json.Unmarshal(data, &cached); err != nil {
		return err
	}
	result, ok := cached["result"].(map[string]any)
	if !ok {
		return fmt.Errorf("%s has no result", file)
	}
	var remaining []any
	routes, _ := result["routes"].([]any)
	for _, r := range routes {
		if route, ok := r.(map[string]any); !ok || route["dst"] != "0.0.0.0/0" {
			remaining = append(remaining, r)
		}
	}
	for _, gw := range gateways {
		dst := "0.0.0.0/0"
		if gw.To4() == nil {
			dst = "::0/0"
		}
		remaining = append(remaining, map[string]string{"dst": dst, "gw": gw.String()})
	}
	if delete(result, "routes"); remaining != nil {
		result["routes"] = remaining
	}
	if data, err = json.Marshal(cached); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}
