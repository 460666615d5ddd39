package linktest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

const fakeVFs = 2

// TestContractOnFakeWithVFs runs the suite on the fake with VFs, as other tests use it.
func TestContractOnFakeWithVFs(t *testing.T) { contractOnFake(t, Newest) }

// TestContractOnOldFake runs it on the fake as the oldest kernel of the lab's.
func TestContractOnOldFake(t *testing.T) { contractOnFake(t, "6.1.0-50-amd64") }

func contractOnFake(t *testing.T, release string) {
	RunContract(t, Env{Bonding: true, VFs: true, NumVFs: fakeVFs, VFDriver: "igbvf", PFSettings: true, ResetsMAC: true, Release: release, Open: func(t *testing.T) Harness {
		w := &fakeHarness{Fake: New(), pfs: []bond.PCIAddress{"0000:01:00.0", "0000:02:00.0"}}
		w.SetRelease(release)
		for i, pci := range w.pfs {
			name := fmt.Sprintf("ens%d", i+1)
			kit.Must(t, w.AddPF(name, pci))
			kit.Must(t, w.NoLinkState(name))
			kit.Must(t, w.Fake.SetNumVFs(name, fakeVFs))
		}
		return w
	}})
}

// TestContractOnFakeWithVirtualLinks runs it with links without PCI address.
func TestContractOnFakeWithVirtualLinks(t *testing.T) {
	RunContract(t, Env{Bonding: true, Reason: "virtual links only", Release: Newest, Open: func(*testing.T) Harness {
		return &fakeHarness{Fake: New()}
	}})
}

// fakeHarness adds to the Fake what only the suite needs.
type fakeHarness struct {
	*Fake
	pfs  []bond.PCIAddress
	used int
}

// AddMember takes VFs from one PF after the other.
func (w *fakeHarness) AddMember(path, name string) (bond.Member, error) {
	m := bond.Member{Name: name}
	if len(w.pfs) > 0 {
		pf := w.pfs[w.used%len(w.pfs)]
		m.PCI = w.VFs(string(pf))[w.used/len(w.pfs)]
		w.used++
		vf, _ := w.VF(m.PCI)
		m.VF = &vf
		if err := w.MoveToNetns(Host, w.nameOf(m.PCI), path, name); err != nil {
			return m, err
		}
	} else if _, err := w.AddVirtual(path, name); err != nil {
		return m, err
	}
	l, _ := w.Link(path, name)
	m.Index, m.PermMAC, m.MAC = l.Index, l.PermMAC, l.MAC
	if m.PCI == "" {
		m.Kind, m.Serial = l.Kind, w.Serial(path, name)
	}
	return m, nil
}

func (w *fakeHarness) PFOf(pci bond.PCIAddress) (string, error) {
	vf, found := w.VF(pci)
	if !found {
		return "", fmt.Errorf("no VF %s", pci)
	}
	return string(vf.PF), nil
}

func (w *fakeHarness) nameOf(pci bond.PCIAddress) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.vfByPCI(pci).link.name
}

// SetCarrier sets the carrier of a VF's PF.
func (w *fakeHarness) SetCarrier(path, name string, on bool) error {
	if l, _ := w.Link(path, name); l.PCI != "" {
		vf, _ := w.VF(l.PCI)
		return w.SetPFCarrier(string(vf.PF), on)
	}
	return w.Fake.SetCarrier(path, name, on)
}

func (w *fakeHarness) AddBond(path, name string) error { return w.Fake.AddBond(path, name, nil) }

func (w *fakeHarness) LoseCarrier(pci bond.PCIAddress) error { return w.ResetVF(pci, -1) }

// BindPF sets the PF up as well, as an administrator does.
func (w *fakeHarness) BindPF(pf string) error {
	return errors.Join(w.Fake.BindPF(pf), w.SetPF(pf, true))
}
