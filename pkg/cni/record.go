package cni

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// newRecord is the wish that an ADD writes down before it touches anything. Members are as
// found. The error is about an MTU that they cannot carry.
func newRecord(k bond.Key, c *Config, a Args, args *skel.CmdArgs, sandbox bond.Sandbox, members []bond.Member) (*bond.Record, error) {
	now := time.Now().UTC()
	r := &bond.Record{
		Key: k, Phase: bond.PhaseAdding, Network: c.Network, Pod: a.Pod, Sandbox: sandbox,
		Spec:    bond.Spec{Options: c.Options.Effective(), MTU: c.MTU, MAC: c.MAC},
		Members: members,
		CNI:     bond.CNI{Config: args.StdinData, Args: args.Args, Path: args.Path},
		Created: now, Updated: now,
	}
	least := leastMTU(members)
	switch {
	case r.Spec.MTU == 0 && least != nil:
		r.Spec.MTU = least.Before.MTU
	case least != nil && r.Spec.MTU > least.Before.MTU:
		return nil, invalid("mtu", strconv.Itoa(r.Spec.MTU), fmt.Sprintf("at most %d, which is the MTU of the link %s", least.Before.MTU, least))
	}
	if r.Spec.MAC == "" || r.Spec.Options.MACFollowsActive() && !ownedBy(members, r.Spec.MAC) {
		r.Spec.MAC = firstMAC(members, r.Spec.Options[bond.OptPrimary])
	}
	return r, nil
}

// leastMTU is the member that bounds the bond's MTU; nil when none has one.
func leastMTU(members []bond.Member) *bond.Member {
	var least *bond.Member
	for i := range members {
		m := &members[i]
		if m.Before.MTU != 0 && (least == nil || m.Before.MTU < least.Before.MTU) {
			least = m
		}
	}
	return least
}

func ownedBy(members []bond.Member, mac bond.MAC) bool {
	return slices.ContainsFunc(members, func(m bond.Member) bool { return m.MAC == mac })
}

// firstMAC is the primary's MAC, or the first member's.
func firstMAC(members []bond.Member, primary string) bond.MAC {
	for _, m := range members {
		if m.Name == primary {
			return m.MAC
		}
	}
	return members[0].MAC
}

// sameAdd says that two records were written by the same ADD.
func sameAdd(a, b *bond.Record) bool { return a.Created.Equal(b.Created) }
