package link

import (
	"errors"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func TestRecognisable(t *testing.T) {
	for _, tc := range []struct {
		bus, parent, warning string
		rejected             bool
	}{
		{bus: "", parent: ""},
		{bus: "pci", parent: "0000:01:10.0", rejected: true},
		{bus: "auxiliary", parent: "mlx5_core.sf.4", warning: "mlx5_core.sf.4 is on the bus auxiliary"},
		{bus: "vmbus", parent: "f8b3781a-1e82-4818-a1c3-63d806ec15bb", warning: "on the bus vmbus"},
	} {
		warning, err := checkRecognisable("net1", tc.bus, tc.parent)
		if errors.Is(err, bond.ErrUnsupported) != tc.rejected || tc.rejected && !strings.Contains(err.Error(), "5.14") {
			t.Errorf("bus %q: %v", tc.bus, err)
		}
		if !strings.Contains(warning, tc.warning) || (warning == "") != (tc.warning == "") {
			t.Errorf("bus %q: warning %q, want %q", tc.bus, warning, tc.warning)
		}
	}
}

// A virtual link has no device, whatever its name.
func TestParentOfAVirtualLink(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	pod := g.conn()
	d, err := pod.byName("net1", false)
	kit.Must(t, err)
	if bus, parent, err := pod.parentOf(d); bus != "" || parent != "" || err != nil {
		t.Errorf("bus %q, device %q, error %v", bus, parent, err)
	}
}
