package cni

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

var _ reconcile.IPAM = (*IPAM)(nil)

// IPAM calls the IPAM plugin that a record's network config names, with all that the runtime
// handed to ADD. The environment of the process plays no part, so the agent can use it too. It
// is safe for concurrent use.
type IPAM struct {
	// Stderr gets what the IPAM plugins say there; nil drops it.
	Stderr io.Writer
}

// Add asks for addresses. The error has the IPAM plugin's own code, when it gave one.
func (i *IPAM) Add(ctx context.Context, r *bond.Record) (*current.Result, error) {
	plugin, path, err := find(r)
	if err != nil {
		return nil, err
	}
	result, err := invoke.ExecPluginWithResult(ctx, path, r.CNI.Config, args(r, "ADD"), i.exec())
	if err != nil {
		return nil, ipamError(ctx, plugin, "ADD", err)
	}
	out, err := resultOfIPAM(result)
	if err != nil {
		return nil, ipamError(ctx, plugin, "ADD", err)
	}
	return out, nil
}

// resultOfIPAM converts an answer of any version. JSON has null, which no version allows in its lists.
func resultOfIPAM(answer types.Result) (*current.Result, error) {
	out, err := current.NewResultFromResult(answer)
	if err != nil {
		return nil, err
	}
	if slices.Contains(out.IPs, nil) || slices.Contains(out.Routes, nil) {
		return nil, errors.New("its answer has null among the addresses or routes")
	}
	return out, nil
}

// Check asks whether what the record's addresses are still what the plugin gave. config is
// the one that came with CHECK; it has prevResult.
func (i *IPAM) Check(ctx context.Context, r *bond.Record, config []byte) error {
	return i.run(ctx, r, "CHECK", config)
}

// Release implements reconcile.IPAM.
func (i *IPAM) Release(ctx context.Context, r *bond.Record) error {
	return i.run(ctx, r, "DEL", r.CNI.Config)
}

// run calls a verb without a result; without IPAM there is nothing to do.
func (i *IPAM) run(ctx context.Context, r *bond.Record, verb string, config []byte) error {
	plugin, path, err := find(r)
	if err != nil || plugin == "" {
		return err
	}
	if err := invoke.ExecPluginWithoutResult(ctx, path, config, args(r, verb), i.exec()); err != nil {
		return ipamError(ctx, plugin, verb, err)
	}
	return nil
}

// find is the name and the path of the record's IPAM plugin; both empty when it has none.
func find(r *bond.Record) (plugin, path string, err error) {
	basics, err := ParseBasics(r.CNI.Config)
	if err != nil || basics.IPAM == "" {
		return "", "", err
	}
	path, err = invoke.FindInPath(basics.IPAM, filepath.SplitList(r.CNI.Path))
	if err != nil {
		return "", "", types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("ipam.type: %v", err), "")
	}
	return basics.IPAM, path, nil
}

// args is the environment of the IPAM plugin: what the runtime gave us.
func args(r *bond.Record, verb string) *invoke.Args {
	return &invoke.Args{
		Command:       verb,
		ContainerID:   r.Key.ContainerID,
		NetNS:         r.Sandbox.Path,
		IfName:        r.Key.IfName,
		PluginArgsStr: r.CNI.Args,
		Path:          r.CNI.Path,
	}
}

func (i *IPAM) exec() invoke.Exec { return &pluginExec{stderr: i.Stderr} }

// ipamError says who failed, and keeps the code that it failed with. A plugin that was killed
// because its time was up has none.
func ipamError(ctx context.Context, plugin, verb string, err error) error {
	code, details := types.ErrInternal, ""
	if ctx.Err() != nil {
		return types.NewError(types.ErrTryAgainLater, fmt.Sprintf("IPAM %s %s: no answer before the time was up: %v", plugin, verb, context.Cause(ctx)), "")
	}
	var coded *types.Error
	if errors.As(err, &coded) {
		if coded.Code != 0 {
			code = coded.Code
		}
		details = coded.Details
		err = errors.New(coded.Msg)
	}
	return types.NewError(code, fmt.Sprintf("IPAM %s %s: %v", plugin, verb, err), details)
}
