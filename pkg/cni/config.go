package cni

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

const (
	// defaultMiimon is how often the members' carrier is looked at, in milliseconds, when
	// the config asks for neither MII nor ARP monitoring. Without any, no failure is ever seen.
	defaultMiimon = "100"

	pluginType = "bond"
	// minMTU is the least MTU that IPv4 works with (RFC 791); maxMTU the kernel's for a bond.
	minMTU, maxMTU = 68, 65535
)

// Config is a network config that was read and checked.
type Config struct {
	// Basics are what DEL needs, which must work however odd the rest is.
	Basics
	// LinksInContainer: the members are in the pod already. Otherwise they are in the
	// host and are moved into the pod.
	LinksInContainer bool
	// Links are the members' names where they are now, without duplicates.
	Links []string
	// Options are canonical and valid in their mode; mode and a monitor are among them.
	Options bond.Options
	// MTU in bytes; 0 when nobody asked.
	MTU int
	// MAC is empty when nobody asked.
	MAC bond.MAC
	DNS types.DNS
	// Prev is the result of the plugin before this one in a chain; nil when there is none.
	Prev *current.Result
}

// Basics are the parts of a network config that every verb needs.
type Basics struct {
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
func ParseBasics(stdin []byte) (Basics, error) {
	o, err := parseConfigObject(stdin)
	if err != nil {
		return Basics{}, err
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
	c := &Config{}
	if c.Basics, err = o.basics(stdin); err != nil {
		return nil, err
	}
	if c.LinksInContainer, err = o.boolean("linksInContainer"); err != nil {
		return nil, err
	}
	if c.Links, err = o.links(); err != nil {
		return nil, err
	}
	if c.Options, err = o.options(c.Links); err != nil {
		return nil, err
	}
	if c.MTU, err = o.mtu(); err != nil {
		return nil, err
	}
	if c.MAC, err = o.mac(args); err != nil {
		return nil, err
	}
	if _, err = o.decode("dns", "an object with nameservers, domain, search and options", &c.DNS); err != nil {
		return nil, err
	}
	c.Prev, err = o.prevResult(c.Version)
	return c, err
}

func parseConfigObject(stdin []byte) (object, error) {
	o, err := parseObject("", stdin)
	if err != nil {
		return object{}, types.NewError(types.ErrDecodingFailure, fmt.Sprintf("network config: not a JSON object: %v", err), "")
	}
	return o, nil
}

func (o object) basics(stdin []byte) (Basics, error) {
	b := Basics{}
	var err error
	if b.Version, err = (&version.ConfigDecoder{}).Decode(stdin); err != nil {
		return b, types.NewError(types.ErrDecodingFailure, fmt.Sprintf("cniVersion: %v", err), "")
	}
	name, found, err := o.str("name", "the network's name")
	if err != nil {
		return b, err
	}
	if !found || name == "" {
		return b, invalid("name", "nothing", "the network's name")
	}
	b.Network = name
	if b.StateDir, err = o.stateDir(); err != nil {
		return b, err
	}
	b.IPAM, err = o.ipamType()
	return b, err
}

func (o object) stateDir() (string, error) {
	const want = "an absolute path"
	dir, found, err := o.str("stateDir", want)
	switch {
	case err != nil || !found:
		return store.DefaultDir, err
	case !filepath.IsAbs(dir):
		return "", o.invalid("stateDir", want)
	}
	return filepath.Clean(dir), nil
}

func (o object) ipamType() (string, error) {
	ipam, err := o.object("ipam")
	if err != nil {
		return "", err
	}
	const want = "the name of an IPAM plugin, e.g. host-local"
	plugin, _, err := ipam.str("type", want)
	switch {
	case err != nil:
		return "", err
	case plugin == pluginType || strings.ContainsAny(plugin, "/\\\x00") || plugin == "." || plugin == "..":
		return "", ipam.invalid("type", want)
	}
	return plugin, nil
}

// links reads the members' names. What else stands in an entry is ignored.
func (o object) links() ([]string, error) {
	const want = `a list of two or more links, e.g. [{"name": "net1"}, {"name": "net2"}]`
	var entries []map[string]any
	if _, err := o.decode("links", want, &entries); err != nil {
		return nil, err
	}
	if len(entries) < 2 {
		return nil, o.invalid("links", want)
	}
	names := make([]string, 0, len(entries))
	for i, entry := range entries {
		field := fmt.Sprintf("links[%d].name", i)
		name, ok := entry["name"].(string)
		if !ok {
			return nil, invalid(field, shown(jsonText(entry["name"])), "the name of a link, as a string")
		}
		if err := bond.ValidateIfName(name); err != nil {
			return nil, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("%s: %v", field, err), "")
		}
		if slices.Contains(names, name) {
			return nil, invalid(field, fmt.Sprintf("%q a second time", name), "each link once")
		}
		names = append(names, name)
	}
	return names, nil
}

func (o object) mtu() (int, error) {
	want := fmt.Sprintf("a number from %d to %d, or 0 to take the members' least", minMTU, maxMTU)
	text, found, err := o.scalar("mtu", want)
	if err != nil || !found {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n != 0 && (n < minMTU || n > maxMTU) {
		return 0, o.invalid("mtu", want)
	}
	return n, nil
}

// mac is the address asked for, by whoever is closest to the pod: CNI's conventions let
// runtimeConfig win over args, args over CNI_ARGS, and those over the network's own.
func (o object) mac(args Args) (bond.MAC, error) {
	const want = "a unicast MAC address, e.g. 02:00:00:00:00:01"
	cniArgs, err := o.object("args")
	if err != nil {
		return "", err
	}
	if cniArgs, err = cniArgs.object("cni"); err != nil {
		return "", err
	}
	runtimeConfig, err := o.object("runtimeConfig")
	if err != nil {
		return "", err
	}
	asked := args.MAC
	for _, in := range []object{runtimeConfig, cniArgs, o} {
		text, found, err := in.str("mac", want)
		if err != nil {
			return "", err
		}
		if !found || text == "" || in.path == "" && asked != "" {
			continue
		}
		mac, err := bond.ParseMAC(text)
		if err != nil {
			return "", in.invalid("mac", want)
		}
		return mac, nil
	}
	return asked, nil
}

// jsonText is a decoded value as it stood in the config, for messages.
func jsonText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return strconv.Quote(v)
	default:
		return fmt.Sprint(v)
	}
}
