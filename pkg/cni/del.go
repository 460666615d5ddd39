package cni

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// Del removes the bond and returns its members and addresses. It can be called any number of times, with or without the
// pod's netns, the bond or the record.
//
// Every DEL ends. What ADD rejects has left no record, so Del logs it and succeeds. Only a config that is not a JSON
// object is an error.
func (p *Plugin) Del(ctx context.Context, args *skel.CmdArgs) error {
	o, err := parseConfigObject(args.StdinData)
	if err != nil {
		return err
	}
	log := stderrLog(p.stderr()).With(zap.String("containerID", args.ContainerID), zap.String("ifName", args.IfName))
	defer func() { _ = log.Sync() }()
	b, rejected := o.lenientBaseConfig()
	if rejected != nil {
		log.Warn("DEL with a config that ADD rejects", zap.Error(rejected))
	}
	k, err := key(args)
	if err != nil {
		log.Warn("DEL of a bond that ADD rejects; nothing to do", zap.Error(err))
		return nil
	}
	if rejected != nil && hasNoRecord(b.StateDir, k) {
		return nil
	}
	s, err := p.open(b.StateDir, args.Path)
	if err == nil {
		err = s.del(ctx, k, b, args)
	}
	if err != nil && !errors.Is(err, bond.ErrLocked) && hasNoRecord(b.StateDir, k) {
		log.Warn("DEL of a bond without a record, with a state directory that cannot be used; nothing to do", zap.Error(err))
		return nil
	}
	return err
}

// hasNoRecord reports whether the bond certainly has no record.
func hasNoRecord(dir string, k bond.Key) bool {
	found, err := store.Recorded(dir, k)
	return err == nil && !found
}

// del tries twice, because an ADD may write a record between the two steps.
func (s *session) del(ctx context.Context, k bond.Key, b BaseConfig, args *skel.CmdArgs) error {
	for range 2 {
		err := s.engine.Delete(ctx, k)
		if !errors.Is(err, bond.ErrNotFound) {
			return err
		}
		// ADD failed earlier, or the agent has released the bond. IPAM is called nevertheless: the
		// specification requires it, and an address of an older version may outlive its record.
		err = s.engine.ReleaseUnrecorded(ctx, &bond.Record{
			Key: k, Network: b.Network, Sandbox: bond.Sandbox{Path: args.Netns},
			CNI: bond.CNI{Config: args.StdinData, Args: args.Args, Path: args.Path},
		})
		if errors.Is(err, bond.ErrStale) {
			continue
		}
		if err != nil {
			s.log.Warn("DEL of a bond without a record: IPAM failed, and nothing is known to be allocated", zap.Stringer("bond", k), zap.Error(err))
		}
		return nil
	}
	return fmt.Errorf("bond %s: an ADD of it is running: %w", k, bond.ErrLocked)
}

// lenientBaseConfig returns what can be read, defaults for the rest, and why an ADD with this config fails.
func (o object) lenientBaseConfig() (b BaseConfig, rejected error) {
	name, found, err := o.Str("name", "the network's name")
	if err == nil && (!found || name == "") {
		err = netconf.Invalid("name", "nothing", "the network's name")
	}
	dir, dirErr := o.stateDir()
	if dirErr != nil {
		dir = store.DefaultDir
	}
	plugin, ipamErr := ipam.Type(o.Object)
	return BaseConfig{Network: name, StateDir: dir, IPAM: plugin}, errors.Join(err, dirErr, ipamErr)
}

// MainDel is what skel.PluginMainFuncs does for DEL, without its checks. They reject what ADD rejects: a network
// without a name, an unknown version, the host's own netns. The result is nil or the error to print.
func (p *Plugin) MainDel(getenv func(string) string, stdin io.Reader) *types.Error {
	args := &skel.CmdArgs{
		ContainerID: getenv("CNI_CONTAINERID"), Netns: getenv("CNI_NETNS"), IfName: getenv("CNI_IFNAME"),
		Args: getenv("CNI_ARGS"), Path: getenv("CNI_PATH"),
	}
	if args.ContainerID == "" || args.IfName == "" {
		return badEnv("required env variables CNI_CONTAINERID and CNI_IFNAME: at least one is missing")
	}
	var err error
	if args.StdinData, err = io.ReadAll(stdin); err != nil {
		return types.NewError(types.ErrIOFailure, "read the network config from standard input: "+err.Error(), "")
	}
	err = p.Funcs().Del(args)
	var coded *types.Error
	if errors.As(err, &coded) {
		return coded
	}
	return nil
}
