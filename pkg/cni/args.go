package cni

import (
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
)

// Args are the entries of CNI_ARGS that this plugin uses.
type Args struct {
	Pod bond.Pod
	MAC bond.MAC
}

// ParseArgs parses CNI_ARGS: "KEY=VALUE;KEY=VALUE". Entries of other plugins are ignored, with or without
// IgnoreUnknown. Errors are *types.Error.
func ParseArgs(text string) (Args, error) {
	var a Args
	for entry := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		key, value, found := strings.Cut(entry, "=")
		if !found {
			return Args{}, badEnv("CNI_ARGS: entry %q: want KEY=VALUE", netconf.Excerpt(entry))
		}
		switch strings.TrimSpace(key) {
		case "K8S_POD_NAMESPACE":
			a.Pod.Namespace = value
		case "K8S_POD_NAME":
			a.Pod.Name = value
		case "K8S_POD_UID":
			a.Pod.UID = value
		case "MAC":
			if value == "" { // not requested, as for "mac" of the network config
				continue
			}
			mac, err := bond.ParseMAC(value)
			if err != nil {
				return Args{}, badEnv("CNI_ARGS: MAC: %v", err)
			}
			a.MAC = mac
		}
	}
	return a, nil
}

// badEnv returns CNI's error for a missing or invalid environment variable.
func badEnv(format string, args ...any) *types.Error {
	return types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf(format, args...), "")
}
