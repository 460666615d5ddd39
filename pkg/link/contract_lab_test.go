//go:build lab

package link_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const vfsPerCard = 2

// TestContractOnVFs runs the suite on bonding with real VFs, of two cards.
func TestContractOnVFs(t *testing.T) {
	guest, err := topology.Load()
	kit.Must(t, err)
	if len(guest.Cards) < 2 {
		t.Fatalf("the guest has %d cards, the suite needs two", len(guest.Cards))
	}
	p := &vfPool{model: guest.Model, dirty: true}
	for _, c := range guest.Cards[:2] {
		p.pfs = append(p.pfs, c.PF.PCI)
	}
	linktest.RunContract(t, linktest.Env{
		Bonding: true, VFs: true, NumVFs: vfsPerCard, VFDriver: guest.Model.VFDriver, PFSettings: guest.Model.VFSettings, FixedCarrier: !guest.Model.VFsFollowPF,
		ResetsMAC: guest.Model.ResetsMAC, Release: kit.KernelRelease(), Reason: "excluded by the cards of " + guest.Model.Name, Open: p.open,
	})
}

// vfPool has the guest's VFs between tests. Recreating them takes seconds, so it is done only after tests that changed
// the PFs' settings.
type vfPool struct {
	model topology.Model
	pfs   []string
	macs  map[string]bond.MAC // the VFs' own
	dirty bool
}

func (p *vfPool) open(t *testing.T) linktest.Harness {
	t.Helper()
	h := &realHarness{t: t, sriov: t.TempDir(), cards: &testCards{model: p.model, pfs: p.pfs, unbound: map[bond.PCIAddress]bool{}}}
	k, err := link.New(link.Options{SriovDir: h.sriov, ClaimDir: filepath.Join(h.sriov, "pci"), PFSettingsAge: time.Hour})
	kit.Must(t, err)
	h.Kernel = k
	if p.dirty {
		p.remake(t, h)
		h.cards.changed = false
	}
	for i, pf := range p.pfs {
		for n := range vfsPerCard {
			kit.Must(t, p.tidy(h, vfOf(t, pf, n), fmt.Sprintf("bkvf%d-%d", i, n)))
		}
	}
	t.Cleanup(func() { p.dirty = h.cards.changed || len(h.cards.unbound) > 0 || t.Failed() })
	return h
}

func (p *vfPool) remake(t *testing.T, h *realHarness) {
	t.Helper()
	p.macs = map[string]bond.MAC{}
	for _, pf := range p.pfs {
		dev, err := h.netdevOf(pf)
		kit.Must(t, err)
		kit.Must(t, h.Set(linktest.Host, dev, "up"))
		kit.Must(t, h.SetNumVFs(pf, vfsPerCard))
		for n := range vfsPerCard {
			vf := vfOf(t, pf, n)
			dev, err := h.netdevOf(vf)
			kit.Must(t, err)
			l, _ := h.Link(linktest.Host, dev)
			p.macs[vf] = l.MAC
		}
	}
}

// tidy resets a VF that a test returns to the state of a new one.
func (p *vfPool) tidy(h *realHarness, vf, name string) error {
	dev, err := h.netdevOf(vf)
	if err != nil {
		return err
	}
	return h.Set(linktest.Host, dev, "down", "name", name, "address", string(p.macs[vf]), "mtu", "1500")
}

func vfOf(t *testing.T, pf string, n int) string {
	t.Helper()
	vf, err := kit.VF(pf, n)
	kit.Must(t, err)
	return string(vf)
}
