package ipam

import (
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/netconf"
)

// Type returns the value of ipam.type in a network config, "" if it has none. It must not be a path, which would run
// any program, nor "bond", which would call itself for ever. The error is a *types.Error.
func Type(config netconf.Object) (string, error) {
	const want = "the name of an IPAM plugin, e.g. host-local"
	section, err := config.Section("ipam")
	if err != nil {
		return "", err
	}
	plugin, _, err := section.Str("type", want)
	switch {
	case err != nil:
		return "", err
	case plugin == "bond" || strings.ContainsAny(plugin, "/\\\x00") || plugin == "." || plugin == "..":
		return "", section.Invalid("type", want)
	}
	return plugin, nil
}
