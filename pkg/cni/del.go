package cni

import (
	"context"
	"errors"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Del takes the bond down and gives back all that it had. It can be called any number of
// times, with the pod's netns, the bond or the record there or not.
func (p *Plugin) Del(ctx context.Context, args *skel.CmdArgs) error {
	k, err := key(args)
	if err != nil {
		return err
	}
	b, err := ParseBasics(args.StdinData)
	if err != nil {
		return err
	}
	s, err := p.open(b.StateDir)
	if err != nil {
		return err
	}
	defer func() { _ = s.log.Sync() }()
	unlock, err := s.lockDel(ctx, k)
	if err != nil {
		return err
	}
	defer unlock()
	_, err = s.Store.Load(k)
	switch {
	case errors.Is(err, bond.ErrNotFound):
		// ADD never came so far, or the agent was here first. IPAM is asked all the same: the
		// specification wants it, and an address may outlive a record.
		return s.ipam.Release(ctx, &bond.Record{
			Key: k, Network: b.Network, Sandbox: bond.Sandbox{Path: args.Netns},
			CNI: bond.CNI{Config: args.StdinData, Args: args.Args, Path: args.Path},
		})
	case err != nil:
		return err
	}
	return s.engine.Release(ctx, k)
}
