package linktest

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// Apply makes one change. Before that it checks that the action's links are still the ones it names, and fails if a
// test requested it.
func (f *Fake) Apply(ctx context.Context, r *bond.Record, a plan.Action) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	hook := f.before
	f.mu.Unlock()
	if hook != nil {
		hook(a) // without the lock, so that it can change links
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.injected(a); err != nil {
		return fmt.Errorf("%s: %w", a, err)
	}
	was := f.text()
	err := f.apply(r, a)
	f.runMonitors()
	if f.text() != was {
		f.changes = append(f.changes, a.String())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", a, err)
	}
	return nil
}

// injected counts the call and reports whether it must fail.
func (f *Fake) injected(a plan.Action) error {
	f.applies++
	if err := f.applyErrs[f.applies]; err != nil {
		delete(f.applyErrs, f.applies)
		return err
	}
	if f.failIf != nil {
		return f.failIf(a)
	}
	return nil
}

func (f *Fake) apply(r *bond.Record, a plan.Action) error {
	pod, err := f.pod(r)
	if err != nil {
		return err
	}
	if err := f.mustOwn(r, vfOf(a)); err != nil {
		return err
	}
	f.created = r.BondIndex
	switch a := a.(type) {
	case plan.CreateBond:
		return f.createBond(pod, r, a)
	case plan.RestoreVF:
		return f.restoreVF(a)
	case plan.Enslave:
		return f.enslave(pod, a)
	case plan.SetActive:
		return f.onMember(pod, a.Bond, a.Link, (*netdev).setActive)
	case plan.SetMemberOptions:
		return f.onMember(pod, a.Bond, a.Link, func(_, d *netdev) error { return d.setMemberOptions(a.MemberOptions) })
	case plan.MoveToPod:
		return f.moveToPod(pod, a)
	case plan.MoveToHost:
		return f.moveToHost(pod, a)
	case plan.SetOptions:
		return f.onBond(pod, a.Bond, func(d *netdev) error { return d.setOptions(a.Options) })
	case plan.DeleteBond:
		return f.onBond(pod, a.Bond, func(d *netdev) error { d.unregister(); return nil })
	case plan.SetUpper:
		return f.enslaveBond(pod, a)
	case plan.AddAddress:
		return f.onBond(pod, a.Bond, func(d *netdev) error { return f.addAddress(d, a) })
	case plan.DelAddress:
		return f.onBond(pod, a.Bond, func(d *netdev) error { d.delAddress(a.Prefix); return nil })
	case plan.AddRoute:
		return f.onBond(pod, a.Bond, func(d *netdev) error { return d.addRoute(a.Route) })
	case plan.DeleteRoute:
		return f.onBond(pod, a.Bond, func(d *netdev) error { d.deleteRoute(a.Route); return nil })
	case plan.Announce:
		return f.onBond(pod, a.Bond, func(*netdev) error { return nil })
	default:
		return f.applyToLink(pod, a)
	}
}

// applyToLink makes the changes that are possible on every kind of link.
func (f *Fake) applyToLink(pod *space, a plan.Action) error {
	on := f.onLink
	if a.Subject() == plan.OnBond {
		on = f.onBond
	}
	switch a := a.(type) {
	case plan.Rename:
		return on(pod, a.Link, func(d *netdev) error { return d.renameDown(a) })
	case plan.SetMAC:
		return on(pod, a.Link, func(d *netdev) error {
			if a.Inactive && d.isActive() {
				return fmt.Errorf("%s is the active member of %s: %w", d.name, d.master.name, bond.ErrStale)
			}
			if d.bond != nil {
				return d.setBondMAC(a.MAC)
			}
			return d.ensureMAC(a.MAC)
		})
	case plan.SetMTU:
		return on(pod, a.Link, func(d *netdev) error { return d.setMTU(a.MTU) })
	case plan.SetUp:
		return on(pod, a.Link, func(d *netdev) error { d.setUp(); return nil })
	case plan.SetDown:
		return on(pod, a.Link, func(d *netdev) error { d.setDown(); return nil })
	case plan.SetLinkSettings:
		return on(pod, a.Link, func(d *netdev) error { return d.setSettings(a.Change) })
	case plan.Bounce:
		return on(pod, a.Link, func(d *netdev) error { f.bounce(d); return nil })
	case plan.Release:
		return on(pod, a.Link, func(d *netdev) error {
			if d.master != nil {
				d.master.release(d)
			}
			return nil
		})
	default:
		return fmt.Errorf("the fake knows no action %T: %w", a, bond.ErrUnsupported)
	}
}

// pod returns the record's netns, if its path still leads there.
func (f *Fake) pod(r *bond.Record) (*space, error) {
	s := f.spaces[r.Sandbox.Path]
	if s == nil || r.Sandbox.Path == Host || earlierBoot(r.Sandbox) || s.dev != r.Sandbox.Dev || s.inode != r.Sandbox.Inode {
		return nil, fmt.Errorf("netns %s of the pod: %w", r.Sandbox.Path, bond.ErrGone)
	}
	return s, nil
}

func earlierBoot(s bond.Sandbox) bool { return s.Boot != "" && s.Boot != boot }

// resolve finds the link of a LinkRef and rejects another one in its place.
func (f *Fake) resolve(pod *space, ref plan.LinkRef) (*netdev, error) {
	var s *space
	switch ref.Location {
	case bond.InPod:
		s = pod
	case bond.InHost:
		s = f.spaces[Host]
	default:
		return nil, fmt.Errorf("%s is nowhere: %w", ref, bond.ErrStale)
	}
	if ref.Index == plan.NewBond {
		if ref.Index = f.created; ref.Index == 0 {
			return nil, fmt.Errorf("%s is not created: %w", ref, bond.ErrStale)
		}
	}
	d := s.links[ref.Index]
	if d == nil {
		return nil, fmt.Errorf("%s: %w", ref, bond.ErrGone)
	}
	have := d.describe()
	if have.PCI != ref.PCI || ref.PCI == "" && ref.PermMAC != "" && have.PermMAC != ref.PermMAC {
		return nil, fmt.Errorf("%s is now %s (%s): %w", ref, have.Name, have.PCI, bond.ErrStale)
	}
	if ref.Serial != 0 && ref.Serial != d.serial {
		return nil, fmt.Errorf("%s is now %s with serial %d, not %d: %w", ref, have.Name, d.serial, ref.Serial, bond.ErrStale)
	}
	return d, nil
}

func (f *Fake) onLink(pod *space, ref plan.LinkRef, do func(*netdev) error) error {
	d, err := f.resolve(pod, ref)
	if err != nil {
		return err
	}
	return do(d)
}

func (f *Fake) resolveBond(pod *space, ref plan.LinkRef) (*netdev, error) {
	d, err := f.resolve(pod, ref)
	if err != nil {
		return nil, err
	}
	if d.bond == nil {
		return nil, fmt.Errorf("%s is no bond: %w", ref, bond.ErrStale)
	}
	return d, nil
}

func (f *Fake) onBond(pod *space, ref plan.LinkRef, do func(*netdev) error) error {
	d, err := f.resolveBond(pod, ref)
	if err != nil {
		return err
	}
	return do(d)
}

func (f *Fake) createBond(pod *space, r *bond.Record, a plan.CreateBond) error {
	err := f.newBond(pod, a.Name, a.Options, a.MAC, a.MTU)
	if err == nil && r.Phase == bond.PhaseAdding {
		r.BondIndex = pod.byName(a.Name).index
	}
	return err
}

func (f *Fake) enslave(pod *space, a plan.Enslave) error {
	to, err := f.resolveBond(pod, a.Bond)
	if err != nil {
		return err
	}
	return f.onLink(pod, a.Link, func(d *netdev) error { return d.enslave(to) })
}

// onMember calls do with a member and its bond, and fails if the bond is another one.
func (f *Fake) onMember(pod *space, bondRef, link plan.LinkRef, do func(of, member *netdev) error) error {
	of, err := f.resolveBond(pod, bondRef)
	if err != nil {
		return err
	}
	return f.onLink(pod, link, func(d *netdev) error {
		if d.master != of {
			return fmt.Errorf("%s is not a member of %s: %w", d.name, of.name, bond.ErrStale)
		}
		return do(of, d)
	})
}

// bounce lets the monitor see the link down, as a real one would.
func (f *Fake) bounce(d *netdev) {
	d.setDown()
	f.runMonitors()
	d.setUp()
}

func (f *Fake) restoreVF(a plan.RestoreVF) error {
	p := f.pfByPCI(a.VF.PF)
	if p == nil || p.link == nil || a.VF.Number >= len(p.vfs) {
		return fmt.Errorf("PF %s with VF %d: %w", a.VF.PF, a.VF.Number, bond.ErrGone)
	}
	v := p.vfs[a.VF.Number]
	if v.pci != a.PCI {
		return fmt.Errorf("VF %d of PF %s is %s: %w", a.VF.Number, a.VF.PF, v.pci, bond.ErrStale)
	}
	return v.restore(a.Settings)
}

func (f *Fake) moveToPod(pod *space, a plan.MoveToPod) error {
	if a.Link.Location != bond.InHost {
		return fmt.Errorf("%s is not in the host: %w", a.Link, bond.ErrStale)
	}
	return f.onLink(pod, a.Link, func(d *netdev) error {
		if err := mayMove(a.Link); err != nil {
			return err
		}
		if d.master != nil {
			return fmt.Errorf("%s is enslaved to %s: %w", d.name, d.master.name, bond.ErrStale)
		}
		if pod.byName(a.Name) != nil {
			return fmt.Errorf("%s cannot be moved: a link %s is there already: %w", d.name, a.Name, bond.ErrStale)
		}
		if a.MAC != "" {
			if err := d.ensureMAC(a.MAC); err != nil {
				return err
			}
		}
		if a.MTU != 0 {
			_ = d.setMTU(a.MTU)
		}
		if a.Alias != "" {
			d.alias = a.Alias
		}
		return d.moveAs(pod, a.Name, indexFor(a.Link, a.Index))
	})
}

// mayMove: a virtual link is moved to another netns only if its serial was checked.
func mayMove(l plan.LinkRef) error {
	if l.PCI == "" && l.Serial == 0 {
		return fmt.Errorf("%s is not proven to be the recorded link: %w", l, bond.ErrStale)
	}
	return nil
}

// indexFor: for devices, the kernel chooses the ifindex.
func indexFor(l plan.LinkRef, index int) int {
	if l.PCI != "" {
		return 0
	}
	return index
}

func (f *Fake) moveToHost(pod *space, a plan.MoveToHost) error {
	if a.Link.Location != bond.InPod {
		return fmt.Errorf("%s is not in the pod: %w", a.Link, bond.ErrStale)
	}
	host := f.spaces[Host]
	return f.onLink(pod, a.Link, func(d *netdev) error {
		if err := mayMove(a.Link); err != nil {
			return err
		}
		name, index := a.Name, indexFor(a.Link, a.Index)
		if host.byName(name) != nil {
			name = host.freeName("eth")
		}
		if _, taken := host.links[index]; taken {
			index = 0
		}
		return d.moveAs(host, name, index)
	})
}

// addAddress detects duplicates immediately.
func (f *Fake) addAddress(d *netdev, a plan.AddAddress) error {
	if err := d.addAddress(a.Prefix); err != nil {
		return err
	}
	if a.DAD && f.otherHosts[a.Prefix.Addr()] {
		if d.failed == nil {
			d.failed = map[netip.Prefix]bool{}
		}
		d.failed[a.Prefix] = true
	}
	return nil
}

// setAnyMAC sets the MAC of a link or a bond.
func (d *netdev) setAnyMAC(m bond.MAC) error {
	if d.bond != nil {
		return d.setBondMAC(m)
	}
	return d.setMAC(m)
}
