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

// Check reports whether the bond is as ADD left it. A member without carrier is not for CHECK
// to complain of: a runtime answers a failure by taking the pod down.
func (p *Plugin) Check(ctx context.Context, args *skel.CmdArgs) error {
	k, _, c, err := parse(args)
	if err != nil {
		return err
	}
	if c.Prev == nil {
		return netconf.Invalid("prevResult", "nothing", "the result of ADD")
	}
	s, err := p.open(c.StateDir)
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

// checkOutcome wants nothing left to do, and the pod that the record is about.
func checkOutcome(out *reconcile.Outcome, netns string, c *Config) error {
	rec := out.Record
	switch {
	case rec.Phase != bond.PhaseReady:
		return fmt.Errorf("bond %s of pod %s is being %s", rec.BondName(), rec.Pod, gerund(rec.Phase))
	case netns != rec.Sandbox.Path:
		return types.NewError(types.ErrInvalidNetNS, fmt.Sprintf("CNI_NETNS: found %s, want %s, where the bond was added", netns, rec.Sandbox.Path), "")
	case !complete(out, c):
		return incomplete(rec, out, nil)
	}
	return nil
}

func gerund(p bond.Phase) string {
	if p == bond.PhaseDeleting {
		return "deleted"
	}
	return "added"
}

// checkPrev holds what ADD returned against what is there now. Interfaces, addresses and
// routes of other plugins of the chain are theirs to check.
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
	// A value that another writer changed after set-up, and that was accepted, is no reason to take the pod down. In
	// set-up a chained plugin that changes one puts it into the result.
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
		if p, ok := ipam.Prefix(ip.Address); !ok || !slices.Contains(now.Addresses, p) {
			wrong = append(wrong, fmt.Sprintf("address %s, found %s", ip.Address.String(), texts(now.Addresses)))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("bond %s of pod %s is not as prevResult says: %s", rec.BondName(), rec.Pod, strings.Join(wrong, "; "))
}

// sameMAC: where the MAC is that of the active member, a failover changes it rightly.
func sameMAC(rec *bond.Record, text string, now bond.MAC) bool {
	was, err := bond.ParseMAC(text)
	if err != nil || was == now {
		return err == nil
	}
	return rec.Spec.Options.MACFollowsActive() && ownedBy(rec.Members, was) && ownedBy(rec.Members, now)
}

func texts(prefixes []netip.Prefix) string {
	if len(prefixes) == 0 {
		return "none"
	}
	out := make([]string, len(prefixes))
	for i, p := range prefixes {
		out[i] = p.String()
	}
	return strings.Join(out, ", ")
}
