package link

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// member finds a member of the record in this netns; nil if it is not here. A VF is known by its PCI address, whatever its
// name. master is the ifindex of the record's bond, 0 if there is none.
func (c *conn) member(all devices, m *bond.Member, master int) (*device, error) {
	switch {
	case m.PCI != "":
		d, _ := all.ofPCI(m.PCI)
		return d, nil
	case c.place == bond.InHost:
		return c.virtualInHost(all, m)
	default:
		return c.virtualInPod(all, m, master)
	}
}

// virtualInPod finds a virtual link by what it has in the pod. A record without its serial is of an older version, or of an
// ADD that could not read it. If such a link came from the host, its ifindex may be that of another link of the pod: then it
// is taken for the member only while it is in the bond.
func (c *conn) virtualInPod(all devices, m *bond.Member, master int) (*device, error) {
	d := all.byIndex(m.Index)
	if d == nil || !looksLike(d, m) {
		return nil, nil
	}
	if m.Serial == 0 {
		if m.Before.InHost && (master == 0 || d.Master != master) {
			return nil, nil
		}
		return d, nil
	}
	return c.proven(d, m, true)
}

// virtualInHost finds a virtual link that came from the host, and only with proof: the host's links have other owners.
func (c *conn) virtualInHost(all devices, m *bond.Member) (*device, error) {
	if !m.Before.InHost || m.Serial == 0 {
		return nil, nil
	}
	for _, d := range all {
		if !looksLike(d, m) || d.Index != m.HostIndex && d.Index != m.Index && d.Name != m.Before.Name {
			continue
		}
		if found, err := c.proven(d, m, false); found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

// looksLike is the part of the identity that a listing has.
func looksLike(d *device, m *bond.Member) bool {
	return d.PCI == "" && (m.Kind == "" || d.Kind == m.Kind) && (m.PermMAC == "" || d.PermMAC == m.PermMAC)
}

// proven returns d if its serial is the member's, and notes it in d. unread says whether d is returned, without its serial,
// if that cannot be read.
func (c *conn) proven(d *device, m *bond.Member, unread bool) (*device, error) {
	serial, err := c.serialOf(d)
	switch {
	case errors.Is(err, bond.ErrGone), errors.Is(err, bond.ErrStale):
		return nil, nil
	case err != nil:
		return nil, classify(err)
	case serial == m.Serial, serial == 0 && unread:
		d.Serial = serial
		return d, nil
	}
	return nil, nil
}

// chosenIndex is where the ifindexes begin that host links get in a pod: far above those that the kernel counts up to, so
// that no other link of the pod, and not the bond, has one of them by accident.
const chosenIndex = 1 << 24

// identify completes the identity of a virtual link. One that is taken from the host gets the ifindex that it is to have in
// the pod: it is recorded before the link is moved.
func (l *lookout) identify(m *bond.Member, d *device) (err error) {
	if m.PCI != "" {
		return nil
	}
	m.Kind = d.Kind
	if m.Serial, err = l.in.serialOf(d); err != nil || !l.InHost {
		return err
	}
	if m.Serial == 0 {
		return fmt.Errorf("link %s: its identity cannot be recorded: this needs a sysfs of its netns, which cannot be mounted (CAP_SYS_ADMIN, and the permission of the security module)", m.Name)
	}
	inPod, err := l.podLinks()
	if err != nil {
		return err
	}
	m.HostIndex = d.Index
	for m.Index = 0; m.Index == 0 || inPod.byIndex(m.Index) != nil || l.chosen[m.Index]; {
		m.Index = chosenIndex + rand.IntN(chosenIndex) //nolint:gosec // it need not be secret: the serial is the proof
	}
	l.chosen[m.Index] = true
	return nil
}

// podLinks lists the links of the sandbox.
func (l *lookout) podLinks() (devices, error) {
	pod, err := l.k.openPod(l.in.ctx, l.Sandbox)
	if err != nil {
		return nil, err
	}
	defer pod.close()
	return pod.dump()
}
