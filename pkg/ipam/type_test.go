package ipam

import (
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

func TestType(t *testing.T) {
	for _, tt := range []struct{ config, want string }{
		{`{}`, ""},
		{`{"ipam":{}}`, ""},
		{`{"ipam":{"type":""}}`, ""},
		{`{"ipam":null}`, ""},
		{`{"ipam":{"type":"host-local","subnet":"10.0.0.0/24"}}`, "host-local"},
		{`{"IPAM":{"type":"dhcp"},"ipam":{"type":"static","Type":"dhcp"}}`, "static"},
	} {
		if got, err := Type([]byte(tt.config)); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.config, got, err, tt.want)
		}
	}
	for _, config := range []string{"{", "[]", `{"ipam":"host-local"}`, `{"ipam":{"type":7}}`} {
		_, err := Type([]byte(config))
		cnitest.WantError(t, err, types.ErrDecodingFailure, "ipam.type", "host-local")
	}
	// A path would name any program, and the bond plugin would call itself for ever.
	for _, config := range []string{`{"ipam":{"type":"bond"}}`, `{"ipam":{"type":"../x"}}`, `{"ipam":{"type":".."}}`, `{"ipam":{"type":"a\u0000"}}`} {
		_, err := Type([]byte(config))
		cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, "ipam.type", "host-local")
	}
}
