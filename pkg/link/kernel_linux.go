package link

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/sriovcni"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// Options are paths; the zero values are the defaults of a node.
type Options struct {
	// SysfsPCI is the directory of PCI devices by address.
	SysfsPCI string
	// ClaimDir is the directory of sriov-cni's claims: one file per VF, named by PCI address, with the path of the
	// netns that has the VF. Its locks are in vf_lock there.
	ClaimDir string
	// SriovDir is the directory of sriov-cni's cache files, which have the requested settings of a VF.
	SriovDir string
	// HostNetns is the path of the netns in which VFs are while no pod has them; empty for that of this process.
	HostNetns string
	// PFSettingsAge is for how long what a PF reports about its VFs, which queueing disciplines a link has, and its
	// ethtool settings are used without reading them again. It must be shorter than the shortest resync period, and
	// longer than a check of all VFs takes: each then reads a PF once.
	PFSettingsAge time.Duration
	// SysctlNet is a writable directory sys/net of a procfs. It shows each thread the sysctls of its netns. A
	// container's own is read-only. It must exist unless it is empty.
	SysctlNet string
}

// Kernel is the real kernel. It implements reconcile.Kernel and is safe for concurrent
// use; while one PF is changed, other changes of it wait for a moment, and then fail (bond.ErrInUse).
type Kernel struct {
	sysfs  sysfs
	claims claims
	sriov  string
	locks  sriovcni.Locks
	host   string
	sysctl string
	pfs    keyedMutex[bond.PCIAddress]
	slow   slowReads
	conns  connections
	// vfTables has what the PFs last reported about their VFs.
	vfTables vfTables
	// qdiscs has the links' queueing disciplines that were last read, ethtool their ethtool settings.
	qdiscs  linkCache[string]
	ethtool linkCache[bond.Ethtool]
	// ethtoolFamily is the ID of ethtool's generic netlink family; 0 before it is known, negative if there is none.
	ethtoolFamily atomic.Int32
	// searchAgain is the interval at which the links are observed while addresses and routes are read.
	searchAgain time.Duration
}

// New checks that HostNetns can be opened and that SysctlNet exists. Nothing stays open.
func New(o Options) (*Kernel, error) {
	if o.SysfsPCI == "" {
		o.SysfsPCI = "/sys/bus/pci/devices"
	}
	if o.ClaimDir == "" {
		o.ClaimDir = sriovcni.DefaultDir + "/pci"
	}
	if o.SriovDir == "" {
		o.SriovDir = sriovcni.DefaultDir
	}
	if o.PFSettingsAge == 0 {
		o.PFSettingsAge = 20 * time.Second
	}
	if o.SysctlNet == "" {
		o.SysctlNet = "/proc/sys/net"
	} else if _, err := os.Stat(o.SysctlNet); err != nil { // later this would look like a missing link
		return nil, fmt.Errorf("directory of the sysctls: %w", err)
	}
	k := &Kernel{
		sysfs: sysfs{root: o.SysfsPCI}, claims: claims{dir: o.ClaimDir}, sriov: o.SriovDir, host: o.HostNetns, sysctl: o.SysctlNet,
		locks: sriovcni.Locks{Dir: filepath.Join(o.ClaimDir, "vf_lock")}, vfTables: vfTables{maxAge: o.PFSettingsAge}, searchAgain: 100 * time.Millisecond,
		qdiscs: linkCache[string]{maxAge: o.PFSettingsAge}, ethtool: linkCache[bond.Ethtool]{maxAge: o.PFSettingsAge},
	}
	if k.host == "" {
		return k, nil
	}
	ns, err := k.hostNS()
	if err != nil {
		return nil, fmt.Errorf("host's network namespace: %w", err)
	}
	return k, ns.Close()
}

func (k *Kernel) hostNS() (*netns.NS, error) {
	if k.host == "" {
		return netns.Current()
	}
	return netns.Open(k.host)
}

// openHost opens the host's netns for one operation; the caller closes it.
func (k *Kernel) openHost(ctx context.Context) (*conn, error) {
	if c := k.conns.take(ctx, bond.Sandbox{}); c != nil {
		return c, nil
	}
	ns, err := k.hostNS()
	if err != nil {
		return nil, fmt.Errorf("host's network namespace: %w", err)
	}
	return k.dial(ctx, ns, bond.InHost)
}

// openPod opens the sandbox for one operation; the caller closes it. The error
// matches bond.ErrGone if the path no longer leads to that netns.
func (k *Kernel) openPod(ctx context.Context, s bond.Sandbox) (*conn, error) {
	if c := k.conns.take(ctx, s); c != nil {
		return c, nil
	}
	ns, err := netns.OpenSandbox(s)
	if err != nil {
		return nil, classify(err)
	}
	c, err := k.dial(ctx, ns, bond.InPod)
	if err == nil {
		c.sandbox = s
	}
	return c, err
}

// SandboxAlive reports whether the sandbox's path still leads to its netns. With an error this is not known.
func (k *Kernel) SandboxAlive(s bond.Sandbox) (bool, error) {
	ns, err := netns.OpenSandbox(s)
	if err == nil {
		err = ns.Do(func() error { return nil }) // only entering it proves it
		_ = ns.Close()
	}
	if errors.Is(err, netns.ErrGone) {
		return false, nil
	}
	return err == nil, err
}

// open opens the record's sandbox or the host's netns.
func (k *Kernel) open(ctx context.Context, r *bond.Record, place bond.Location) (*conn, error) {
	switch place {
	case bond.InHost:
		return k.openHost(ctx)
	case bond.InPod:
		return k.openPod(ctx, r.Sandbox)
	default:
		return nil, fmt.Errorf("%w: a link that is %s cannot be changed", bond.ErrStale, place)
	}
}
