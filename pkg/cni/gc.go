package cni

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
)

// GC releases every bond of the network that the runtime no longer has, and calls the IPAM plugin's GC. A failed
// release does not prevent the others.
func (p *Plugin) GC(ctx context.Context, args *skel.CmdArgs) error {
	o, err := parseConfigObject(args.StdinData)
	if err != nil {
		return err
	}
	b, err := o.baseConfig(args.StdinData)
	if err != nil {
		return err
	}
	const field, want = "cni.dev/valid-attachments", "a list of objects with containerID and ifname"
	var valid []types.GCAttachment
	found, err := o.Decode(field, want, &valid)
	if err != nil {
		return err
	}
	if !found {
		// Without the list every bond of the network would count as garbage.
		return netconf.Invalid(field, "nothing", want)
	}
	s, err := p.open(b.StateDir, args.Path)
	if err != nil {
		return err
	}
	defer func() { _ = s.log.Sync() }()
	keys, err := s.Store.Keys()
	if err != nil {
		return err
	}
	var errs []error
	for _, k := range keys {
		errs = append(errs, s.releaseUnlessValid(ctx, k, b.Network, valid))
	}
	errs = append(errs, s.ipam.GC(ctx, networkOnly(b, args)))
	return errors.Join(errs...)
}

func (s *session) releaseUnlessValid(ctx context.Context, k bond.Key, network string, valid []types.GCAttachment) error {
	if slices.Contains(valid, types.GCAttachment{ContainerID: k.ContainerID, IfName: k.IfName}) {
		return nil
	}
	rec, err := s.Store.Load(k)
	if errors.Is(err, bond.ErrNotFound) || err == nil && rec.Network != network {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, delTimeout) // a hanging IPAM plugin leaves time for the others
	defer cancel()
	return s.engine.ReleaseRecord(ctx, rec)
}

// Status returns an error if an ADD cannot succeed: the kernel is too old or has no bonding, the state directory cannot
// be used, or the IPAM plugin is missing or fails its own STATUS. Its code is the CNI specification's for this.
func (p *Plugin) Status(ctx context.Context, args *skel.CmdArgs) error {
	b, err := ParseBaseConfig(args.StdinData)
	if err != nil {
		return err
	}
	s, err := p.open(b.StateDir, args.Path)
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = s.log.Sync() }()
	if err := bond.CheckKernel(s.KernelRelease); err != nil {
		return unavailable(err)
	}
	if err := s.Probe(ctx); err != nil {
		return unavailable(err)
	}
	if err := s.ipam.Status(ctx, networkOnly(b, args)); err != nil {
		return unavailable(err)
	}
	return nil
}

// networkOnly returns the part of a record that IPAM needs for a verb without a container.
func networkOnly(b BaseConfig, args *skel.CmdArgs) *bond.Record {
	return &bond.Record{Network: b.Network, CNI: bond.CNI{Config: args.StdinData, Args: args.Args, Path: args.Path}}
}

// unavailable returns the error of STATUS. An IPAM plugin that reports limited connectivity of existing pods keeps that
// code.
func unavailable(err error) *types.Error {
	code, details := types.ErrPluginNotAvailable, ""
	var coded *types.Error
	if errors.As(err, &coded) {
		details = coded.Details
		if coded.Code == types.ErrLimitedConnectivity {
			code = coded.Code
		}
	}
	return types.NewError(code, fmt.Sprintf("no bond can be created on this node: %v", err), details)
}
