package link

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// member finds a member of the record in this netns; nil if it is not here. A VF is identified by its PCI address.
// slaves are the links of the record's bond, whose ifindex is master; nil and 0 without a bond. A VF that is enslaved
// is not searched for elsewhere. ambiguous names the links of a VF's PCI function if there are several.
func (c *conn) member(slaves devices, m *bond.Member, master int) (d *device, ambiguous string, err error) {
	if m.PCI == "" {
		d, err = c.virtual(slaves, m, master)
		return d, "", err
	}
	if d, ambiguous = slaves.ofPCI(m.PCI); d == nil && ambiguous == "" {
		d, _ = c.searched.ofPCI(m.PCI)
	}
	if d != nil || ambiguous != "" {
		return d, ambiguous, nil
	}
	all, err := c.linksOf(m.PCI, nil)
	if err != nil {
		return nil, "", err
	}
	d, ambiguous = all.ofPCI(m.PCI)
	return d, ambiguous, nil
}

func (c *conn) virtual(slaves devices, m *bond.Member, master int) (*device, error) {
	if c.place == bond.InHost {
		return c.virtualInHost(m)
	}
	d := slaves.byIndex(m.Index)
	if d == nil {
		var err error
		if d, err = c.deviceByIndex(m.Index); err != nil {
			return nil, err
		}
	}
	return c.virtualInPod(d, m, master)
}

// virtualInPod returns the link with a member's ifindex if it is that virtual link, by its identity in the pod. A
// record without its serial is of an older version, or of an ADD that could not read it. If such a link came from the
// host, its ifindex may be that of another link of the pod: then it counts as the member only while it is in the bond.
func (c *conn) virtualInPod(d *device, m *bond.Member, master int) (*device, error) {
	if d == nil || !similar(d, m) {
		return nil, nil
	}
	if m.Serial == 0 {
		if m.Original.FromHost && (master == 0 || d.Master != master) {
			return nil, nil
		}
		return d, nil
	}
	return c.proven(d, m, true)
}

// virtualInHost finds a virtual link that came from the host, and only with proof: the host's links have other owners.
func (c *conn) virtualInHost(m *bond.Member) (*device, error) {
	if !m.Original.FromHost || m.Serial == 0 {
		return nil, nil
	}
	for _, try := range []func() (*device, error){
		func() (*device, error) { return c.deviceByIndex(m.HostIndex) },
		func() (*device, error) { return c.deviceByIndex(m.Index) },
		func() (*device, error) { return c.deviceByName(m.Original.Name) },
	} {
		d, err := try()
		if err != nil {
			return nil, err
		}
		if d == nil || !similar(d, m) {
			continue
		}
		if found, err := c.proven(d, m, false); found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

// similar compares the part of the identity that is in a link message.
func similar(d *device, m *bond.Member) bool {
	return d.PCI == "" && (m.Kind == "" || d.Kind == m.Kind) && (m.PermMAC == "" || d.PermMAC == m.PermMAC)
}

// proven returns d if its serial is the member's, and sets it in d. If the serial cannot be read, unread decides
// whether d is returned without it.
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

// chosenIndex is the lowest ifindex that host links get in a pod. It is far above those that the kernel assigns, so
// that no other link of the pod, and not the bond, has one of them by accident.
const chosenIndex = 1 << 24

// identify completes the identity of a virtual link. A link from the host is assigned its ifindex in the pod here,
// because that is recorded before the link is moved.
func (l *memberSearch) identify(m *bond.Member, d *device) (err error) {
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
	m.HostIndex = d.Index
	m.Index, err = l.chooseIndex()
	return err
}

// chooseIndex returns an ifindex that no link of the sandbox has.
func (l *memberSearch) chooseIndex() (int, error) {
	pod, err := l.k.openPod(l.in.ctx, l.Sandbox)
	if err != nil {
		return 0, err
	}
	defer pod.close()
	for {
		index := chosenIndex + rand.IntN(chosenIndex) //nolint:gosec // it need not be secret: the serial is the proof
		taken, err := pod.deviceByIndex(index)
		if err != nil {
			return 0, err
		}
		if taken == nil && !l.chosen[index] {
			l.chosen[index] = true
			return index, nil
		}
	}
}
