package cni

import (
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TestSharedPFIsWarnedOf: also if the record has no PF, because it has no settings for its VFs (virtio).
func TestSharedPFIsWarnedOf(t *testing.T) {
	const pf0, pf1 = bond.PCIAddress("0000:01:00.0"), bond.PCIAddress("0000:02:00.0")
	for name, tc := range map[string]struct {
		first, second bond.PCIAddress
		settings      bool
		warned        bool
	}{
		"with settings":    {pf0, pf0, true, true},
		"without settings": {pf0, pf0, false, true},
		"two PFs":          {pf0, pf1, false, false},
		"no PF":            {"", "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, found := &bond.Record{}, &bond.MemberResult{Links: make([]bond.MemberLink, 2)}
			for i, pf := range []bond.PCIAddress{tc.first, tc.second} {
				m := bond.Member{Name: []string{"net1", "net2"}[i]}
				if tc.settings {
					m.VF = &bond.VF{PF: pf}
				}
				if pf != "" {
					found.Links[i].PF = &bond.ObservedPF{PCI: pf, Name: "eth0"}
				}
				r.Members = append(r.Members, m)
			}
			w := strings.Join(sharedPFs(r, found), "; ")
			if warned := strings.Contains(w, "net1, net2 are VFs of one PF, eth0 ("+string(pf0)+")"); warned != tc.warned || !tc.warned && w != "" {
				t.Errorf("warnings %q", w)
			}
		})
	}
}
