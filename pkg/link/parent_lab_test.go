//go:build lab

package link

import (
	"errors"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// A VF in a pod whose address is not in its link message, as with a kernel before 5.14, is rejected with its name. Of a
// virtio device only the bus is known: ADD warns of it.
func TestVFWithoutAddress(t *testing.T) {
	g := newVFFixture(t)
	g.in(g.host, "link", "set", g.netdev(g.vf), "netns", g.pod, "name", "net1")
	pod := g.conn()
	d, err := pod.byName("net1", false)
	kit.Must(t, err)
	bus, parent, err := pod.parentOf(d)
	if want := map[string]string{"igbvf": "pci", "virtio-pci": "virtio"}[g.guest.Model.VFDriver]; bus != want || topology.FunctionOf(parent) != string(g.vf) || err != nil {
		t.Errorf("bus %q, device %q, error %v; want %s on the bus %s", bus, parent, err, g.vf, want)
	}
	l := &memberSearch{k: g.k, in: pod}
	if err := l.checkAddress(d, "net1"); err != nil {
		t.Errorf("with its address: %v", err)
	}
	d.PCI = ""
	if bus != "pci" {
		if err := l.checkAddress(d, "net1"); err != nil || len(l.warnings) != 1 || !strings.Contains(l.warnings[0], parent) {
			t.Errorf("without its address: %v, warnings %q", err, l.warnings)
		}
		return
	}
	if err := l.checkAddress(d, "net1"); !errors.Is(err, bond.ErrUnsupported) || !strings.Contains(err.Error(), string(g.vf)) {
		t.Errorf("without its address: %v", err)
	}
}
