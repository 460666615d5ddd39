//go:build lab

package link

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestLinksOfAFunction: a VF is found by its PCI address in its netns and in no other, with and without a sysfs of that
// netns.
func TestLinksOfAFunction(t *testing.T) {
	g := newVFFixture(t)
	for _, inPod := range []bool{false, true} {
		if inPod {
			g.in(g.host, "link", "set", g.netdev(g.vf), "netns", g.pod)
		}
		for place, want := range map[bond.Location]bool{bond.InHost: !inPod, bond.InPod: inPod} {
			for _, without := range []bool{false, true} {
				c, err := g.k.open(t.Context(), g.r, place)
				kit.Must(t, err)
				if without {
					c.sysfs = -1
				}
				all, err := c.linksOf(g.vf, nil)
				if err != nil || (len(all) == 1) != want || want && all[0].PCI != g.vf {
					t.Errorf("VF in the pod: %t; without sysfs: %t; found %s: %d links (%v)", inPod, without, place, len(all), err)
				}
				if (c.sysfs < 0) != without {
					t.Errorf("sysfs of the netns could not be mounted")
				}
				c.close()
			}
		}
	}
}
