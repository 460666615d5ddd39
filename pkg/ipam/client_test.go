package ipam

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TestUses: what cannot be read may have an IPAM plugin.
func TestUses(t *testing.T) {
	for config, want := range map[string]bool{
		`{"type": "bond"}`: false, `{"ipam": {}}`: false, `{"ipam": {"type": "host-local"}}`: true,
		`{"ipam": {"type": 7}}`: true, `{"ipam": {"type": "../x"}}`: true, `{`: true, ``: true,
	} {
		if got := new(Client).Uses(&bond.Record{CNI: bond.CNI{Config: []byte(config)}}); got != want {
			t.Errorf("%s: %t, want %t", config, got, want)
		}
	}
}
