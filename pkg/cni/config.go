package cni

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

const (
	// defaultMiimon is the interval of carrier checks in milliseconds, if the config requests neither MII nor ARP
	// monitoring. Without any monitoring no failure is detected.
	defaultMiimon = "100"

	// minMTU is the smallest MTU for IPv4 (RFC 791); maxMTU is the kernel's for a bond.
	minMTU, maxMTU = 68, 65535
)

// Config is a parsed and checked network config.
type Config struct {
	// BaseConfig is what DEL needs, which must work with any error in the rest.
	BaseConfig
	// IgnoredIfName is the value of ifname as text, for a warning; the bond is named CNI_IFNAME.
	IgnoredIfName string
	// LinksInContainer: the members are already in the pod. Otherwise they are in the
	// host and are moved into the pod.
	LinksInContainer bool
	// Links are the members, each once, by their present names.
	Links []Link
	// StartDegraded: some of the links are enough.
	StartDegraded bool
	// LinkTimeout is how long ADD may wait for links.
	LinkTimeout time.Duration
	// Options are canonical and valid in their mode; they include the mode and a monitor.
	Options bond.Options
	// MTU in bytes; 0 if not requested.
	MTU int
	// DAD: ADD adds IPv6 addresses with duplicate address detection.
	DAD bool
	// Enforce is what the agent enforces after set-up; EnforceAll by default.
	Enforce bond.Enforce
	// MAC is empty if not requested.
	MAC bond.MAC
	// IPs: the runtime requests certain addresses, which the IPAM plugin reads.
	IPs bool
	DNS types.DNS
	// Prev is the result of the previous plugin in a chain; nil if there is none.
	Prev *current.Result
}

// BaseConfig are the parts of a network config that every verb needs.
type BaseConfig struct {
	// Version is the runtime's CNI version, "0.1.0" if the config has none.
	Version string
	// Network is the network's name.
	Network string
	// StateDir is the directory of the records; store.DefaultDir by default.
	StateDir string
	// IPAM is the name of the IPAM plugin; empty if there is none.
	IPAM string
}

// ParseBaseConfig parses only what every verb needs. Errors are *types.Error.
func ParseBaseConfig(stdin []byte) (BaseConfig, error) {
	o, err := parseConfigObject(stdin)
	if err != nil {
		return BaseConfig{}, err
	}
	return o.baseConfig(stdin)
}

// ParseConfig parses and checks a network config and its CNI_ARGS. It changes nothing. Errors are *types.Error with
// CNI's code; they name the field, its value and the allowed values. Unknown fields are ignored, as the CNI
// specification requires.
func ParseConfig(stdin []byte, args Args) (*Config, error) {
	o, err := parseConfigObject(stdin)
	if err != nil {
		return nil, err
	}
	c := &Config{IgnoredIfName: o.ifName()}
	if c.BaseConfig, err = o.baseConfig(stdin); err != nil {
		return nil, err
	}
	if err = c.parseLinks(o); err != nil {
		return nil, err
	}
	if c.MTU, err = o.mtu(); err != nil {
		return nil, err
	}
	if c.MAC, err = o.mac(args); err != nil {
		return nil, err
	}
	if c.DAD, err = o.BooleanOr(fieldDAD, true); err != nil {
		return nil, err
	}
	if c.Enforce, err = o.enforce(); err != nil {
		return nil, err
	}
	if c.IPs, err = o.requestsIPs(); err != nil {
		return nil, err
	}
	if _, err = o.Decode(fieldDNS, allowedValues(fieldDNS), &c.DNS); err != nil {
		return nil, err
	}
	c.Prev, err = o.prevResult(c.Version)
	return c, err
}

// parseLinks reads the links and the bonding options, which refer to each other.
func (c *Config) parseLinks(o object) (err error) {
	if c.LinksInContainer, err = o.Boolean(fieldInPod); err != nil {
		return err
	}
	if c.StartDegraded, err = o.Boolean(fieldDegraded); err != nil {
		return err
	}
	if c.LinkTimeout, err = o.linkTimeout(); err != nil {
		return err
	}
	if c.Links, err = o.links(); err != nil {
		return err
	}
	if c.Options, err = o.options(c.LinkNames()); err != nil {
		return err
	}
	return c.checkPrios()
}

// object is a network config or an entry of its links, with the fields that this plugin reads.
type object struct{ netconf.Object }

func parseConfigObject(stdin []byte) (object, error) {
	o, err := netconf.Parse("", stdin)
	if err != nil {
		return object{}, types.NewError(types.ErrDecodingFailure, fmt.Sprintf("network config: not a JSON object: %v", err), "")
	}
	return object{o}, nil
}

func (o object) baseConfig(stdin []byte) (BaseConfig, error) {
	b := BaseConfig{}
	var err error
	if b.Version, err = (&version.ConfigDecoder{}).Decode(stdin); err != nil {
		return b, types.NewError(types.ErrDecodingFailure, fmt.Sprintf("cniVersion: %v", err), "")
	}
	name, found, err := o.Str("name", "the network's name")
	if err != nil {
		return b, err
	}
	if !found || name == "" {
		return b, netconf.Invalid("name", "nothing", "the network's name")
	}
	b.Network = name
	if b.StateDir, err = o.stateDir(); err != nil {
		return b, err
	}
	b.IPAM, err = ipam.Type(o.Object)
	return b, err
}

// ifName returns the value of ifname as text, or "" if it is absent or empty. Any value is accepted: nothing depends on
// it.
func (o object) ifName() string {
	value, found := o.Raw(fieldIfName)
	var name string
	if err := json.Unmarshal(value, &name); found && err != nil {
		return netconf.Excerpt(string(value))
	}
	return name
}

func (o object) stateDir() (string, error) {
	dir, found, err := o.Str(fieldStateDir, allowedValues(fieldStateDir))
	switch {
	case err != nil || !found:
		return store.DefaultDir, err
	case !filepath.IsAbs(dir):
		return "", o.Invalid(fieldStateDir, allowedValues(fieldStateDir))
	}
	return filepath.Clean(dir), nil
}

func (o object) enforce() (bond.Enforce, error) {
	text, found, err := o.Str(fieldEnforce, allowedValues(fieldEnforce))
	switch e := bond.Enforce(text); {
	case err != nil:
		return "", err
	case !found || text == "":
		return bond.EnforceAll, nil
	case e == bond.EnforceAll, e == bond.EnforceLinks:
		return e, nil
	}
	return "", o.Invalid(fieldEnforce, allowedValues(fieldEnforce))
}

func (o object) mtu() (int, error) {
	n, _, err := o.integer(fieldMTU, allowedValues(fieldMTU), 0, maxMTU)
	if err == nil && n != 0 && n < minMTU {
		return 0, o.Invalid(fieldMTU, allowedValues(fieldMTU))
	}
	return int(n), err
}

// mac returns the requested address. By CNI's conventions runtimeConfig has precedence over args, args over CNI_ARGS,
// and those over the network's own.
func (o object) mac(args Args) (bond.MAC, error) {
	want := allowedValues(fieldMAC)
	fromRuntime, err := o.runtimeSections()
	if err != nil {
		return "", err
	}
	requested := args.MAC
	for _, in := range append(fromRuntime, o.Object) {
		text, found, err := in.Str("mac", want)
		if err != nil {
			return "", err
		}
		if !found || text == "" || in.Path == "" && requested != "" {
			continue
		}
		mac, err := bond.ParseMAC(text)
		if err != nil {
			return "", in.Invalid("mac", want)
		}
		return mac, nil
	}
	return requested, nil
}

// runtimeSections returns the two sections in which a runtime passes what a pod requests, in order of precedence
// (CNI's conventions: capabilities, and args).
func (o object) runtimeSections() ([]netconf.Object, error) {
	runtimeConfig, err := o.Section("runtimeConfig")
	if err != nil {
		return nil, err
	}
	args, err := o.Section("args")
	if err != nil {
		return nil, err
	}
	cniArgs, err := args.Section("cni")
	return []netconf.Object{runtimeConfig, cniArgs}, err
}

// requestsIPs reports whether certain addresses are requested.
func (o object) requestsIPs() (bool, error) {
	fromRuntime, err := o.runtimeSections()
	if err != nil {
		return false, err
	}
	requested := false
	for _, in := range fromRuntime {
		var ips []string
		if _, err := in.Decode("ips", "a list of addresses, e.g. [\"10.0.0.7/24\"]", &ips); err != nil {
			return false, err
		}
		requested = requested || len(ips) > 0
	}
	return requested, nil
}
