package lab

import (
	"slices"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// TestCardArgs: QEMU gets the VFs of a virtio card before their PF, which they name, and an igb without VFs.
func TestCardArgs(t *testing.T) {
	for model, want := range map[topology.Model][]string{
		topology.IGB: {"pcie-root-port,id=port1", "hubport", "igb,id=card1,bus=port1,netdev=segment1"},
		topology.Virtio: {
			"pcie-root-port,id=port1", "hubport", "virtio-net-pci,bus=port1,addr=0x0.0x1,netdev=segment1-1", "hubport",
			"virtio-net-pci,bus=port1,addr=0x0.0x2,netdev=segment1-2", "hubport", "virtio-net-pci,bus=port1,addr=0x0.0x0,netdev=segment1-0",
		},
	} {
		args := cardArgs(&Config{VFs: 2, model: model}, 1)
		var values []string
		for i := 1; i < len(args); i += 2 {
			values = append(values, args[i])
		}
		if !slices.EqualFunc(values, want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", model.Name, values, want)
		}
		for i, v := range values {
			vf := strings.Contains(v, "addr=0x0.") && !strings.Contains(v, "addr=0x0.0x0")
			if vf != strings.HasSuffix(v, ",sriov-pf=card1") {
				t.Errorf("%s: function %d is %q", model.Name, i, v)
			}
		}
	}
}
