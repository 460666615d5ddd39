package linktest

import (
	"fmt"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// FailApply lets the n-th Apply from now on (1 is the next) fail with err, changing nothing.
func (f *Fake) FailApply(n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applyErrs[f.applies+n] = err
}

// FailApplyIf lets every Apply fail for which fail returns an error; nil ends that. fail
// must not call methods of the Fake.
func (f *Fake) FailApplyIf(fail func(plan.Action) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failIf = fail
}

// FailObserve lets the next n calls of Observe fail with err, as an interrupted dump does.
func (f *Fake) FailObserve(n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.observeErrs = append(f.observeErrs, slices.Repeat([]error{err}, n)...)
}

// HideNetwork lets the next n observations of a bond leave its addresses and routes unread.
func (f *Fake) HideNetwork(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hidden, f.readLater = n, false
}

// PostponeNetwork is HideNetwork as it is while links are to be repaired first.
func (f *Fake) PostponeNetwork(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hidden, f.readLater = n, true
}

// BeforeApply calls hook at the beginning of every Apply: what happens between observing
// and applying. hook may call the Fake's methods except Apply; nil ends it.
func (f *Fake) BeforeApply(hook func(plan.Action)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = hook
}

// UnbindVF takes the driver from a VF: its netdev is gone wherever it was.
func (f *Fake) UnbindVF(pci bond.PCIAddress) error {
	return f.onVF(pci, func(v *vf) error { v.unbind(); return nil })
}

// Netdev returns the netns that a VF's link is in, and the link; false if the VF has no driver.
func (f *Fake) Netdev(pci bond.PCIAddress) (path string, l bond.Link, found bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.vfByPCI(pci)
	if v == nil || v.link == nil {
		return "", bond.Link{}, false
	}
	return v.link.space.path, v.link.describe(), true
}

// BindVF gives a VF its driver back: a new netdev in the host, down, named ethN.
func (f *Fake) BindVF(pci bond.PCIAddress) error {
	return f.onVF(pci, func(v *vf) error { v.bind(); return nil })
}

// ResetVF is a function-level reset: the netdev stays, its carrier is gone until it was
// set up that many times more; with -1 until its driver is bound again.
func (f *Fake) ResetVF(pci bond.PCIAddress, bounces int) error {
	return f.onVF(pci, func(v *vf) error { v.dead = bounces; return nil })
}

// SetVF changes what the PF keeps for a VF, as `ip link set PF vf N` does.
func (f *Fake) SetVF(pci bond.PCIAddress, s bond.VFSettings) error {
	return f.onVF(pci, func(v *vf) error { return v.restore(s) })
}

// SetNumVFs writes sriov_numvfs: 0, then n when that is not 0.
func (f *Fake) SetNumVFs(pfName string, n int) error {
	return f.onPF(pfName, func(p *pf) { p.setNumVFs(n) })
}

// UnbindPF takes the driver from a PF: it is gone with all its VFs.
func (f *Fake) UnbindPF(pfName string) error {
	return f.onPF(pfName, func(p *pf) {
		p.setNumVFs(0)
		if p.link != nil {
			p.link.unregister()
			p.link = nil
		}
	})
}

// BindPF gives a PF its driver back; it comes down and without VFs.
func (f *Fake) BindPF(pfName string) error {
	return f.onPF(pfName, func(p *pf) {
		if p.link == nil {
			p.bind()
		}
	})
}

// SetPFCarrier plugs or pulls a PF's cable; its VFs notice.
func (f *Fake) SetPFCarrier(pfName string, on bool) error {
	return f.onPF(pfName, func(p *pf) { p.wire = on })
}

// NoLinkState makes a PF's driver one that refuses link-state requests.
func (f *Fake) NoLinkState(pfName string) error {
	return f.onPF(pfName, func(p *pf) { p.noLinkState = true })
}

// DeletePod deletes a netns: bonds and virtual links die, VFs return to the host under
// the name that they had in the pod.
func (f *Fake) DeletePod(path string) error {
	return f.inSpace(path, func(s *space) error {
		if path == Host {
			return fmt.Errorf("the host's netns cannot be deleted")
		}
		f.deleteSpace(s)
		return nil
	})
}

func (f *Fake) deleteSpace(s *space) {
	host := f.spaces[Host]
	for _, d := range s.sorted() {
		if d.vf == nil && d.pf == nil {
			continue
		}
		name := d.name
		if host.byName(name) != nil {
			name = fmt.Sprintf("dev%d", d.index) // default_device_exit_net
		}
		_ = d.move(host, name) // neither a bond nor a name that is taken
	}
	for _, d := range s.sorted() {
		d.unregister()
	}
	delete(f.spaces, s.path)
}

func (f *Fake) onVF(pci bond.PCIAddress, do func(*vf) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.runMonitors()
	v := f.vfByPCI(pci)
	if v == nil {
		return fmt.Errorf("VF %s: %w", pci, bond.ErrGone)
	}
	return do(v)
}

// onPF works on a card that is there, even when its driver is not bound.
func (f *Fake) onPF(name string, do func(*pf)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.runMonitors()
	p := f.pfByName(name)
	if p == nil {
		return fmt.Errorf("PF %s: %w", name, bond.ErrGone)
	}
	do(p)
	return nil
}

func (f *Fake) inSpace(path string, do func(*space) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.runMonitors()
	s := f.spaces[path]
	if s == nil {
		return fmt.Errorf("netns %q: %w", path, bond.ErrGone)
	}
	return do(s)
}
