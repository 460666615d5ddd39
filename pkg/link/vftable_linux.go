package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// vfTables are what PFs reported about their VFs. A request for one VF does not exist: the kernel reports all VFs of a
// PF, and the driver queries its card about each.
type vfTables struct {
	maxAge time.Duration

	mu   sync.Mutex
	byPF map[bond.PCIAddress]*vfTable
}

type vfTable struct {
	mu   sync.Mutex // held while the PF is read, so that it is read once
	read time.Time  // when reading began; zero if vfs are not known
	vfs  map[int]bond.VFSettings
}

func (t *vfTables) of(pf bond.PCIAddress) *vfTable {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byPF == nil {
		t.byPF = map[bond.PCIAddress]*vfTable{}
	}
	if t.byPF[pf] == nil {
		t.byPF[pf] = &vfTable{}
	}
	return t.byPF[pf]
}

// forget has a PF read again, because it was changed.
func (t *vfTables) forget(pf bond.PCIAddress) {
	table := t.of(pf)
	table.mu.Lock()
	defer table.mu.Unlock()
	table.read, table.vfs = time.Time{}, nil
}

// errIncompleteVFList means that a PF answers, but not about all of its VFs. A list of more than 64 KiB, some 200 VFs,
// does not fit in a netlink attribute, whose length has 16 bits. Drivers without ndo_get_vf_config list none.
var errIncompleteVFList = errors.New("the PF's list of VFs is incomplete")

// get returns a VF's settings that were read since a time. Otherwise it reads them.
func (t *vfTable) get(number int, since time.Time, read func() (map[int]bond.VFSettings, error)) (*bond.VFSettings, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.read.Before(since) {
		now := time.Now()
		vfs, err := read()
		if err != nil {
			return nil, err
		}
		t.read, t.vfs = now, vfs
	}
	if s, found := t.vfs[number]; found {
		return &s, nil
	}
	return nil, fmt.Errorf("%w: it has %d VFs, and not VF %d", errIncompleteVFList, len(t.vfs), number)
}

// maxSilentAge is for how long the settings of a VF are used that is without carrier or outside the bond: its link may
// have been disabled, and a VF that only seems to be stuck is set down and up; or it is new, and its PF has lost them.
const maxSilentAge = time.Second

// observePFSettings reads the PF-side settings of the VFs in the pod. What cannot be read is not known: a PF may be
// away, and its VFs continue. Only a PF that answers incompletely is reported.
func (k *Kernel) observePFSettings(ctx context.Context, r *bond.Record, o *bond.Observed) {
	if r.Phase != bond.PhaseReady {
		return
	}
	now := time.Now()
	for i := range r.Members {
		m, om := &r.Members[i], &o.Members[i]
		if m.VF == nil || om.Location != bond.InPod || o.Bond == nil {
			continue
		}
		age := k.vfTables.maxAge
		if noCarrier(m, om) || !o.Enslaved(i) {
			age = min(age, maxSilentAge)
		}
		s, err := k.pfSettingsSince(ctx, m, now.Add(-age))
		if err == nil && s != nil && plan.PFSettingsDecide(r, i, om.Link.MAC, *s) { // they may have changed since they were read
			s, err = k.pfSettingsSince(ctx, m, now)
		}
		if err == nil {
			om.PFSettings = s
		}
		if errors.Is(err, errIncompleteVFList) {
			om.PFSettingsError = err.Error()
		}
	}
}

// Unannounced implements reconcile.Kernel.
func (k *Kernel) Unannounced(ctx context.Context, r *bond.Record, o bond.Observed) bond.Observed {
	o.Members = slices.Clone(o.Members)
	for i := range o.Members {
		m := &o.Members[i]
		m.PFSettings, m.PFSettingsError, m.SriovCNI = nil, "", nil
	}
	k.observeOwnership(r, &o)
	k.observePFSettings(ctx, r, &o)
	return o
}

func (k *Kernel) pfSettingsSince(ctx context.Context, m *bond.Member, since time.Time) (*bond.VFSettings, error) {
	if now, err := k.sysfs.vfOf(m.VF.PF, m.VF.Number); err != nil || now != m.PCI {
		return nil, err
	}
	return k.vfTables.of(m.VF.PF).get(m.VF.Number, since, func() (map[int]bond.VFSettings, error) {
		host, err := k.openHost(ctx)
		if err != nil {
			return nil, err
		}
		defer host.close()
		_, d, err := k.pfDevice(host, m.PCI, true)
		if err != nil {
			return nil, incompleteVFList(err)
		}
		all, err := d.allVFSettings()
		return all, incompleteVFList(err)
	})
}

// incompleteVFList marks errors that a list of VFs causes by its length.
func incompleteVFList(err error) error {
	if !errors.Is(err, errIncompleteVFList) && (errors.Is(err, errMalformed) || errors.Is(err, unix.EMSGSIZE)) {
		return fmt.Errorf("%w: %w", errIncompleteVFList, err)
	}
	return err
}
