//go:build lab

package link_test

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const vfsPerCard = 2

// TestContractOnVFs runs the suite on bonding with real VFs, of two cards.
func TestContractOnVFs(t *testing.T) {
	guest, err := topology.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(guest.Cards) < 2 {
		t.Fatalf("the guest has %d cards, the suite needs two", len(guest.Cards))
	}
	linktest.RunContract(t, linktest.Env{
		Bonding: true, VFs: true, NumVFs: vfsPerCard, Open: func(t *testing.T) linktest.World { return openVFs(t, guest) },
	})
}

// openVFs makes all VFs anew, so that nothing is left of the test before.
func openVFs(t *testing.T, guest *topology.Topology) linktest.World {
	t.Helper()
	h := &hands{t: t, claimDir: t.TempDir(), cards: &cards{}}
	for _, c := range guest.Cards[:2] {
		h.cards.pfs = append(h.cards.pfs, c.PF.PCI)
		dev, err := h.netdevOf(c.PF.PCI)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.set(linktest.Host, dev, "up"); err != nil {
			t.Fatal(err)
		}
		if err := h.SetNumVFs(c.PF.PCI, vfsPerCard); err != nil {
			t.Fatal(err)
		}
	}
	k, err := link.New(link.Options{ClaimDir: h.claimDir})
	if err != nil {
		t.Fatal(err)
	}
	h.Kernel = k
	return h
}
