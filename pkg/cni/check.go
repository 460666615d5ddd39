package cni

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// Check reports whether the bond is as ADD left it. A member without carrier is not an error of CHECK, because a
// runtime reacts to one by stopping the pod.
func (p *Plugin) Check(ctx context.Context, args *skel.CmdArgs) error {
	k, _, c, err := parse(args)
	if err != nil {
		return err
	}
	if c.Prev == nil {
		return netconf.Invalid("prevResult", "nothing", "the result of ADD")
	}
	s, err := p.open(c.StateDir, args.Path)
	if err != nil {
		return err
	}
	defer func() { _ = s.log.Sync() }()
	out, err := s.engine.Inspect(ctx, k)
	if errors.Is(err, bond.ErrNotFound) {
		return types.NewError(types.ErrUnknownContainer, fmt.Sprintf("no record of bond %s in %s: it was never added, or deleted", k, c.StateDir), "")
	}
	if err != nil {
		return err
	}
	if err := checkOutcome(&out, args.Netns, c); err != nil {
		return err
	}
	if err := checkPrev(c.Prev, &out, args.Netns); err != nil {
		return err
	}
	return s.ipam.Check(ctx, out.Record, args.StdinData)
}

// checkOutcome returns an error if something is left to do, or if this is not the record's pod.
func checkOutcome(out *reconcile.Outcome, netns string, c *Config) error {
	rec := out.Record
	switch {
	case rec.Phase != bond.PhaseReady:
		return fmt.Errorf("bond %s of pod %s is being %s", rec.BondName(), rec.Pod, participle(rec.Phase))
	case netns != rec.Sandbox.Path:
		return types.NewError(types.ErrInvalidNetNS, fmt.Sprintf("CNI_NETNS: found %s, want %s, where the bond was added", netns, rec.Sandbox.Path), "")
	case !complete(out, c):
		return incomplete(rec, out, nil)
	}
	return nil
}

// participle describes what is done to a bond in a phase.
func participle(p bond.Phase) string {
	if p == bond.PhaseDeleting {
		return "deleted"
	}
	return "added"
}

// checkPrev compares the result of ADD with the current state. Interfaces, addresses and
// routes of other plugins of the chain are checked by those.
func checkPrev(prev *current.Result, out *reconcile.Outcome, netns string) error {
	rec, now := out.Record, out.Observed.Bond
	index := slices.IndexFunc(prev.Interfaces, func(i *current.Interface) bool {
		return i.Name == rec.BondName() && i.Sandbox == netns
	})
	if index < 0 {
		return netconf.Invalid("prevResult.interfaces", "no "+rec.BondName(), "the bond "+rec.BondName()+" in "+netns)
	}
	iface := prev.Interfaces[index]
	var wrong []string
	// A value that another writer changed after set-up, and that was accepted, is no reason to stop the pod. In
	// set-up a chained plugin that changes one writes it into the result.
	accepts := !rec.InSetup()
	if iface.Mac != "" && !sameMAC(rec, iface.Mac, now.MAC) && !(accepts && now.MAC == rec.Spec.MAC) {
		wrong = append(wrong, fmt.Sprintf("MAC %s, found %s", iface.Mac, now.MAC))
	}
	if iface.Mtu != 0 && iface.Mtu != now.MTU && !(accepts && now.MTU == rec.Spec.MTU) {
		wrong = append(wrong, fmt.Sprintf("MTU %d, found %d", iface.Mtu, now.MTU))
	}
	for _, ip := range prev.IPs {
		if ip.Interface == nil || *ip.Interface != index {
			continue
		}
		p, ok := ipam.Prefix(ip.Address)
		requested := slices.ContainsFunc(rec.Addresses, func(a bond.Address) bool { return a.Prefix == p })
		if !ok || !slices.Contains(now.Addresses, p) && !(accepts && !requested) {
			wrong = append(wrong, fmt.Sprintf("address %s, found %s", ip.Address.String(), joinPrefixes(now.Addresses)))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("bond %s of pod %s differs from prevResult: %s", rec.BondName(), rec.Pod, strings.Join(wrong, "; "))
}

// sameMAC reports whether the MAC may be the same one: if it is that of the active member, a failover changes it.
func sameMAC(rec *bond.Record, text string, now bond.MAC) bool {
	was, err := bond.ParseMAC(text)
	if err != nil || was == now {
		return err == nil
	}
	return rec.Spec.Options.MACFollowsActive() && hasMAC(rec.Members, was) && hasMAC(rec.Members, now)
}

func joinPrefixes(prefixes []netip.Prefix) string {
	if len(prefixes) == 0 {
		return "none"
	}
	out := make([]string, len(prefixes))
	for i, p := range prefixes {
		out[i] = p.String()
	}
	return strings.Join(out, ", ")
}
