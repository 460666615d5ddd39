package cni

import (
	"time"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// newRecord returns the record that an ADD writes before it changes anything. Members are as found. It returns an error
// if they cannot have the MTU.
func newRecord(k bond.Key, c *Config, a Args, args *skel.CmdArgs, sandbox bond.Sandbox, found *bond.MemberResult) (*bond.Record, error) {
	mtu, err := chooseMTU(c.MTU, found)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	r := &bond.Record{
		Key: k, Phase: bond.PhaseAdding, Network: c.Network, Pod: a.Pod, Sandbox: sandbox,
		Spec:    bond.Spec{Options: c.Options.Effective(), MTU: mtu, DerivedMTU: c.MTU == 0, Enforce: c.Enforce, NoDAD: !c.DAD},
		CNI:     bond.CNI{Config: args.StdinData, Args: args.Args, Path: args.Path},
		Created: now, Updated: now,
	}
	for i := range found.Links {
		m := found.Links[i].Member
		m.MemberOptions = c.Links[i].MemberOptions
		r.Members = append(r.Members, m)
	}
	assignMACs(r, c.MAC, found)
	r.Warnings = warnings(c, r, found)
	return r, nil
}
