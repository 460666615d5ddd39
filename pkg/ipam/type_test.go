package ipam

import (
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func TestType(t *testing.T) {
	for _, tt := range []struct{ config, want string }{
		{`{}`, ""},
		{`{"ipam":{}}`, ""},
		{`{"ipam":{"type":""}}`, ""},
		{`{"ipam":null}`, ""},
		{`{"ipam":{"type":"host-local","subnet":"10.0.0.0/24"}}`, "host-local"},
		{`{"IPAM":{"Type":"dhcp"}}`, "dhcp"}, // as plugins read it with encoding/json
		{`{"IPAM":{"type":"dhcp"},"ipam":{"type":"static","Type":"dhcp"}}`, "static"},
	} {
		config, err := netconf.Parse("", []byte(tt.config))
		kit.Must(t, err)
		if got, err := Type(config); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.config, got, err, tt.want)
		}
	}
}

// TestBadConfig: a record's config was checked by ADD, that of a DEL without a record was not.
func TestBadConfig(t *testing.T) {
	for _, tt := range []struct {
		config string
		code   uint
		names  string
	}{
		{`{`, types.ErrDecodingFailure, "network config"},
		{`[]`, types.ErrDecodingFailure, "network config"},
		{`{"ipam":"host-local"}`, types.ErrInvalidNetworkConfig, "ipam"},
		{`{"ipam":{"type":7}}`, types.ErrInvalidNetworkConfig, "ipam.type"},
		{`{"ipam":{"type":"bond"}}`, types.ErrInvalidNetworkConfig, "ipam.type"},
		{`{"ipam":{"type":"../x"}}`, types.ErrInvalidNetworkConfig, "ipam.type"},
		{`{"ipam":{"type":".."}}`, types.ErrInvalidNetworkConfig, "ipam.type"},
		{`{"ipam":{"type":"a\u0000"}}`, types.ErrInvalidNetworkConfig, "ipam.type"},
		{`{"ipam":{"type":"missing"}}`, types.ErrInvalidNetworkConfig, "ipam.type"},
	} {
		err := (&Client{}).Release(t.Context(), &bond.Record{CNI: bond.CNI{Path: t.TempDir(), Config: []byte(tt.config)}})
		cnitest.WantError(t, err, tt.code, tt.names)
	}
}
