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
	// defaultMiimon is how often the members' carrier is looked at, in milliseconds, when
	// the config asks for neither MII nor ARP monitoring. Without any, no failure is ever seen.
	defaultMiimon = "100"

	// minMTU is the least MTU that IPv4 works with (RFC 791); maxMTU the kernel's for a bond.
	minMTU, maxMTU = 68, 65535
)

// Config is a network config that was read and checked.
type Config struct {
	// Basics are what DEL needs, which must work however odd the rest is.
	BaseConfig
	// IgnoredIfName is the value of ifname as text, for a warning; the bond is named CNI_IFNAME.
	IgnoredIfName string
	// LinksInContainer: the members are in the pod already. Otherwise they are in the
	// host and are moved into the pod.
	LinksInContainer bool
	// Links are the members, each once, by the names that they have where they are now.
	Links []Link
	// StartDegraded: some of the links are enough.
	StartDegraded bool
	// LinkTimeout is how long ADD may wait for links.
	LinkTimeout time.Duration
	// Options are canonical and valid in their mode; mode and a monitor are among them.
	Options bond.Options
	// MTU in bytes; 0 when nobody asked.
	MTU int
	// DAD: ADD adds IPv6 addresses with duplicate address detection.
	DAD bool
	// Enforce is what the agent enforces after set-up; EnforceAll if the config does not say.
	Enforce bond.Enforce
	// MAC is empty when nobody asked.
	MAC bond.MAC
	// IPs: the runtime asks for certain addresses; which ones is for the IPAM plugin to read.
	IPs bool
	DNS types.DNS
	// Prev is the result of the plugin before this one in a chain; nil if there is none.
	Prev *current.Result
}

// BaseConfig are the parts of a network config that every verb needs.
type BaseConfig struct {
	// Version is the CNI version that the runtime speaks, "0.1.0" when it does not say.
	Version string
	// Network is the network's name.
	Network string
	// StateDir is where the records are; store.DefaultDir when the config does not say.
	StateDir string
	// IPAM is the name of the IPAM plugin; empty for none.
	IPAM string
}

// ParseBasics reads only what DEL needs. Errors are *types.Error.
func ParseBasics(stdin []byte) (BaseConfig, error) {
	o, err := parseConfigObject(stdin)
	if err != nil {
		return BaseConfig{}, err
	}
	return o.basics(stdin)
}

// ParseConfig reads and checks a network config and the CNI_ARGS that came with it. It
// touches nothing. Errors are *types.Error with CNI's code; they name the field, what was
// found and what is wanted. Unknown fields are ignored, as the CNI specification says.
func ParseConfig(stdin []byte, args Args) (*Config, error) {
	o, err := parseConfigObject(stdin)
	if err != nil {
		return nil, err
	}
	c := &Config{IgnoredIfName: o.ifName()}
	if c.BaseConfig, err = o.basics(stdin); err != nil {
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
	if c.IPs, err = o.asksForIPs(); err != nil {
		return nil, err
	}
	if _, err = o.Decode(fieldDNS, allowedValues(fieldDNS), &c.DNS); err != nil {
		return nil, err
	}
	c.Prev, err = o.prevResult(c.Version)
	return c, err
}

// parseLinks reads the links and the bonding options, which speak of each other.
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

func (o object) basics(stdin []byte) (BaseConfig, error) {
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

// ifName returns the value of ifname as text, or "" if it is absent or empty. Any value is accepted: nothing depends on it.
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

// mac is the address asked for, by whoever is closest to the pod: CNI's conventions let
// runtimeConfig win over args, args over CNI_ARGS, and those over the network's own.
func (o object) mac(args Args) (bond.MAC, error) {
	want := allowedValues(fieldMAC)
	fromRuntime, err := o.fromRuntime()
	if err != nil {
		return "", err
	}
	asked := args.MAC
	for _, in := range append(fromRuntime, o.Object) {
		text, found, err := in.Str("mac", want)
		if err != nil {
			return "", err
		}
		if !found || text == "" || in.Path == "" && asked != "" {
			continue
		}
		mac, err := bond.ParseMAC(text)
		if err != nil {
			return "", in.Invalid("mac", want)
		}
		return mac, nil
	}
	return asked, nil
}

// fromRuntime are the two places in which a runtime puts what a pod asks for, the stronger first
// (CNI's conventions: capabilities, and args).
func (o object) fromRuntime() ([]netconf.Object, error) {
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

// asksForIPs reports whether certain addresses are asked for.
func (o object) asksForIPs() (bool, error) {
	fromRuntime, err := o.fromRuntime()
	if err != nil {
		return false, err
	}
	asked := false
	for _, in := range fromRuntime {
		var ips []string
		if _, err := in.Decode("ips", "a list of addresses, e.g. [\"10.0.0.7/24\"]", &ips); err != nil {
			return false, err
		}
		asked = asked || len(ips) > 0
	}
	return asked, nil
}
