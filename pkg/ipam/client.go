package ipam

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

var _ reconcile.IPAM = (*Client)(nil)

// Client calls the IPAM plugin of a record's network config. It is safe for concurrent use.
//
// Errors are of type *types.Error: with the IPAM plugin's own code if it printed one, ErrTryAgainLater if it was killed
// because the context ended, ErrInvalidNetworkConfig if it is not installed.
type Client struct {
	// Stderr receives what IPAM plugins write to standard error; nil discards it.
	Stderr io.Writer
	// Path is the CNI_PATH of the present call; empty in the agent. It is searched before the record's, which is that of
	// the ADD: an upgrade may have moved the plugins since.
	Path string
}

// Installed returns an error if the record names an IPAM plugin that is not in the plugin path.
func (c *Client) Installed(r *bond.Record) error {
	_, _, err := c.find(r)
	return err
}

// Add allocates addresses.
func (c *Client) Add(ctx context.Context, r *bond.Record) (*current.Result, error) {
	plugin, path, err := c.find(r)
	if err != nil {
		return nil, err
	}
	result, err := invoke.ExecPluginWithResult(ctx, path, r.CNI.Config, c.args(r, "ADD"), c.exec())
	if err != nil {
		return nil, pluginFailed(ctx, plugin, "ADD", err)
	}
	out, err := CurrentResult(result)
	if err != nil {
		return nil, pluginFailed(ctx, plugin, "ADD", err)
	}
	return out, nil
}

// CurrentResult converts a result of any version. A null in one of its lists is an error.
func CurrentResult(result types.Result) (*current.Result, error) {
	out, err := current.NewResultFromResult(result)
	if err != nil {
		return nil, err
	}
	if slices.Contains(out.IPs, nil) || slices.Contains(out.Routes, nil) {
		return nil, errors.New("its result has null among the addresses or routes")
	}
	return out, nil
}

// Check returns an error if the plugin does not confirm the bond's addresses. config is the one of the CHECK, which has
// prevResult.
func (c *Client) Check(ctx context.Context, r *bond.Record, config []byte) error {
	return c.run(ctx, r, "CHECK", config)
}

// Uses implements reconcile.IPAM. It returns true for a config that cannot be read; Release returns why.
func (c *Client) Uses(r *bond.Record) bool {
	config, err := netconf.Parse("", r.CNI.Config)
	if err != nil {
		return true
	}
	plugin, err := Type(config)
	return err != nil || plugin != ""
}

// PluginPath implements reconcile.IPAM. It returns the record's path, or that of the present call if only that one has
// the plugin.
func (c *Client) PluginPath(r *bond.Record) string {
	if c.Path == "" || c.Path == r.CNI.Path {
		return r.CNI.Path
	}
	present := *r
	present.CNI.Path = c.Path
	if new(Client).Installed(r) != nil && new(Client).Installed(&present) == nil {
		return c.Path
	}
	return r.CNI.Path
}

// Release implements reconcile.IPAM: it calls DEL.
func (c *Client) Release(ctx context.Context, r *bond.Record) error {
	return c.run(ctx, r, "DEL", r.CNI.Config)
}

// GC calls the plugin's GC, which releases what belongs to none of the attachments that the record's config lists as
// valid. Of the record it needs the CNI data only.
func (c *Client) GC(ctx context.Context, r *bond.Record) error {
	return c.run(ctx, r, "GC", r.CNI.Config)
}

// Status returns an error if the plugin cannot serve an ADD. Of the record it needs the CNI data only.
func (c *Client) Status(ctx context.Context, r *bond.Record) error {
	return c.run(ctx, r, "STATUS", r.CNI.Config)
}

// run calls a verb that has no result. It does nothing if the network has no IPAM.
func (c *Client) run(ctx context.Context, r *bond.Record, verb string, config []byte) error {
	plugin, path, err := c.find(r)
	if err != nil || plugin == "" {
		return err
	}
	if err := invoke.ExecPluginWithoutResult(ctx, path, config, c.args(r, verb), c.exec()); err != nil {
		return pluginFailed(ctx, plugin, verb, err)
	}
	return nil
}

// find returns the name and the path of the record's IPAM plugin, both empty if it has none.
func (c *Client) find(r *bond.Record) (plugin, path string, err error) {
	config, err := netconf.Parse("", r.CNI.Config)
	if err != nil {
		return "", "", types.NewError(types.ErrDecodingFailure, fmt.Sprintf("network config: not a JSON object: %v", err), "")
	}
	plugin, err = Type(config)
	if err != nil || plugin == "" {
		return "", "", err
	}
	path, err = invoke.FindInPath(plugin, filepath.SplitList(c.path(r)))
	if err != nil {
		return "", "", types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("ipam.type: %v", err), "")
	}
	return plugin, path, nil
}

// args returns the environment of the IPAM plugin.
func (c *Client) args(r *bond.Record, verb string) *invoke.Args {
	return &invoke.Args{
		Command:       verb,
		ContainerID:   r.Key.ContainerID,
		NetNS:         r.Sandbox.Path,
		IfName:        r.Key.IfName,
		PluginArgsStr: r.CNI.Args,
		Path:          c.path(r),
	}
}

// path returns the directories of plugins in the form of CNI_PATH.
func (c *Client) path(r *bond.Record) string {
	if c.Path == "" || c.Path == r.CNI.Path {
		return r.CNI.Path
	}
	return strings.Trim(c.Path+string(filepath.ListSeparator)+r.CNI.Path, string(filepath.ListSeparator))
}

func (c *Client) exec() invoke.Exec { return &pluginExec{stderr: c.Stderr} }

// pluginFailed adds plugin and verb to an error, and keeps the plugin's code.
func pluginFailed(ctx context.Context, plugin, verb string, err error) error {
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
