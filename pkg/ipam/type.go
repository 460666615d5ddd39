package ipam

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TypeWanted describes the allowed values of ipam.type, for errors.
const TypeWanted = "the name of an IPAM plugin, e.g. host-local"

// ValidType reports whether a bond can delegate to an IPAM plugin of that name. "" means no IPAM. The name must not be a
// path, and not that of the bond plugin, which would call itself for ever.
func ValidType(name string) bool {
	return name != "bond" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\\x00")
}

// Type returns the value of ipam.type in a network config, "" if it has none. The error is a *types.Error.
func Type(config []byte) (string, error) {
	var network, section map[string]json.RawMessage // field names in their exact case, other than with a struct
	var name string
	err := json.Unmarshal(config, &network)
	if value := network["ipam"]; err == nil && value != nil {
		err = json.Unmarshal(value, &section)
	}
	if value := section["type"]; err == nil && value != nil {
		err = json.Unmarshal(value, &name)
	}
	switch {
	case err != nil:
		return "", types.NewError(types.ErrDecodingFailure, fmt.Sprintf("ipam.type: found %v, want %s", err, TypeWanted), "")
	case !ValidType(name):
		return "", types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("ipam.type: found %s, want %s", bond.Printable(name, maxShown), TypeWanted), "")
	}
	return name, nil
}
