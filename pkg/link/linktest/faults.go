package linktest

import (
	"fmt"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// FailApply makes the n-th Apply from now on (1 is the next) fail with err, without a change.
func (f *Fake) FailApply(n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applyErrs[f.applies+n] = err
}

// FailApplyIf makes every Apply fail for which fail returns an error; nil ends that. fail must not call methods of the
// Fake.
func (f *Fake) FailApplyIf(fail func(plan.Action) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failIf = fail
}

// FailObserve makes the next n calls of Observe fail with err, as an interrupted dump does.
func (f *Fake) FailObserve(n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.observeErrs = append(f.observeErrs, slices.Repeat([]error{err}, n)...)
}

// HideNetwork makes the next n observations leave the bond's addresses and routes unread.
func (f *Fake) HideNetwork(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hidden, f.readLater = n, false
}

// PostponeNetwork is HideNetwork with the reason that links must be repaired first.
func (f *Fake) PostponeNetwork(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hidden, f.readLater = n, true
}

// BeforeApply calls hook at the start of every Apply, for events between observing and applying. hook may call the
// Fake's methods except Apply; nil ends it.
func (f *Fake) BeforeApply(hook func(plan.Action)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = hook
}

// UnbindVF unbinds a VF from its driver: its netdev is deleted.
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

// BindVF binds a VF to its driver: it has a new netdev in the host, down, named ethN.
func (f *Fake) BindVF(pci bond.PCIAddress) error {
	return f.onVF(pci, func(v *vf) error { v.bind(); return nil })
}

// ResetVF is a function-level reset: the netdev stays, and its carrier is lost until it was set up this many times;
// with -1 until its driver is bound again. The driver of an older kernel does not notice the reset.
func (f *Fake) ResetVF(pci bond.PCIAddress, bounces int) error {
	return f.onVF(pci, func(v *vf) error {
		if kernelVFsLearnOfResets(f.release) {
			v.dead = bounces
		}
		return nil
	})
}

// SetVF changes the PF's settings of a VF, as `ip link set PF vf N` does.
func (f *Fake) SetVF(pci bond.PCIAddress, s bond.VFSettings) error {
	return f.onVF(pci, func(v *vf) error { return v.restore(s) })
}

// SetNumVFs writes sriov_numvfs: 0, then n unless that is 0.
func (f *Fake) SetNumVFs(pfName string, n int) error {
	return f.onPF(pfName, func(p *pf) { p.setNumVFs(n) })
}

// UnbindPF unbinds a PF from its driver: its netdev and all its VFs are gone.
func (f *Fake) UnbindPF(pfName string) error {
	return f.onPF(pfName, func(p *pf) {
		p.setNumVFs(0)
		if p.link != nil {
			p.link.unregister()
			p.link = nil
		}
	})
}

// BindPF binds a PF to its driver; it is down and has no VFs.
func (f *Fake) BindPF(pfName string) error {
	return f.onPF(pfName, func(p *pf) {
		if p.link == nil {
			p.bind()
		}
	})
}

// SetPFCarrier plugs or unplugs a PF's cable, which changes its VFs' carrier, too.
func (f *Fake) SetPFCarrier(pfName string, on bool) error {
	return f.onPF(pfName, func(p *pf) { p.wire = on })
}

// NoLinkState makes a PF's driver reject link-state requests.
func (f *Fake) NoLinkState(pfName string) error {
	return f.onPF(pfName, func(p *pf) { p.noLinkState = true })
}

// DeletePod deletes a netns: bonds and virtual links are deleted, VFs return to the host under their name in the pod.
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

// onPF calls do with an existing card, even if its driver is not bound.
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
