//go:build lab

package watch

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// write writes to a file of sysfs.
func write(t *testing.T, path, text string) {
	t.Helper()
	kit.Must(t, os.WriteFile(path, []byte(text), 0))
}

// intoPod moves a VF's netdev from the host into a pod under the name net1, up.
func intoPod(t *testing.T, pci string, s bond.Sandbox) {
	t.Helper()
	name, err := topology.Netdev(pci)
	kit.Must(t, err)
	ns, err := netns.Open(s.Path)
	kit.Must(t, err)
	defer func() { _ = ns.Close() }()
	err = errors.Join(netlink.LinkSetDown(link(name)), netlink.LinkSetNsFd(link(name), ns.Fd()))
	kit.Must(t, err)
	in(t, s, func() error { return errors.Join(netlink.LinkSetName(link(name), "net1"), setUpLink("net1")) })
}

// TestVF: events of a real VF and its PF enqueue the bonds that they concern, and no other.
func TestVF(t *testing.T) {
	topo, err := topology.Load()
	kit.Must(t, err)
	pf, vf := topo.Cards[0].PF, topo.Cards[0].VFs[0]
	w, bystander := pod(t, "pod"), pod(t, "bystander")
	w.Members = vfs(pf.PCI, vf.PCI)
	if !topo.Model.VFSettings {
		w.Members[0].VF = nil // as ADD records it
	}
	r, sink := newRecords(t), newSink()
	r.put(t, w)
	r.put(t, bystander)
	start(t, r, sink)
	expect := func(t *testing.T, step, cause string) {
		t.Helper()
		t.Log(step)
		for _, g := range sink.until(t, w.Key, cause) {
			if g.key != w.Key {
				t.Errorf("%s: enqueued %v", step, g)
			}
		}
	}
	numVFs := filepath.Join("/sys/bus/pci/devices", pf.PCI, "sriov_numvfs")

	intoPod(t, vf.PCI, w.Sandbox)
	expect(t, "the VF leaves the host", "VF "+vf.PCI+" removed")
	expect(t, "the VF arrives in the pod", "link changed")
	sink.drain()
	kit.Must(t, kit.Links{}.UnbindVF(bond.PCIAddress(vf.PCI)))
	expect(t, "its driver is unbound", "link removed")
	sink.drain()
	kit.Must(t, kit.Links{}.BindVF(bond.PCIAddress(vf.PCI)))
	expect(t, "its driver is bound", "VF "+vf.PCI+" changed")
	sink.drain()
	intoPod(t, vf.PCI, w.Sandbox)
	expect(t, "it is moved by hand", "VF "+vf.PCI+" removed")

	t.Run("PF", func(t *testing.T) {
		kit.NeedVFSettings(t) // otherwise the PF is not recorded
		pfEvents(t, expect, pf)
		vfSettingIsSilent(t, sink, w, pf)
	})

	write(t, numVFs, "0")
	expect(t, "all VFs are taken away", "link removed")
	sink.drain()
	write(t, numVFs, strconv.Itoa(len(topo.Cards[0].VFs)))
	expect(t, "all VFs are given back", "VF "+vf.PCI+" changed")
	sink.drain()
	intoPod(t, vf.PCI, w.Sandbox)
	expect(t, "it is moved by hand", "VF "+vf.PCI+" removed")
	sink.drain()
	netnstest.Delete(t, w.Sandbox.Path)
	expect(t, "the pod ends", CauseSandbox)
	expect(t, "the VF falls back to the host", "VF "+vf.PCI+" changed")
}

// pfEvents: the PF goes down and up.
func pfEvents(t *testing.T, expect func(t *testing.T, step, cause string), pf topology.Function) {
	t.Helper()
	kit.Must(t, netlink.LinkSetDown(link(pf.Name)))
	expect(t, "the PF goes down", "PF "+pf.PCI+" changed")
	events := open(t)
	kit.Must(t, setUpLink(pf.Name))
	expect(t, "the PF goes up", "PF "+pf.PCI+" changed")
	events.until(t, "the PF's carrier", func(m message) bool {
		return string(m.parent) == pf.PCI && m.state&unix.IFF_LOWER_UP != 0
	})
}

// vfSettingIsSilent: the PF has an event for each VF setting that is written, which enqueues no bond.
func vfSettingIsSilent(t *testing.T, sink *fakeSink, w *bond.Record, pf topology.Function) {
	t.Helper()
	sink.drainFor(5 * time.Second) // the VFs in pods get their carrier later than the PF, with an event
	s := open(t)
	kit.Must(t, netlink.LinkSetVfVlan(link(pf.Name), 1, 5))
	mark(t, w)
	if g := sink.next(t); !strings.HasPrefix(g.cause, "link changed") {
		t.Errorf("enqueued for a VF setting: %v", g)
	}
	s.until(t, "without the PF's event this step proves nothing", func(m message) bool {
		return m.kind == unix.RTM_NEWLINK && string(m.parent) == pf.PCI
	})
}

// TestBond: changes that a pod makes to its bond enqueue it.
func TestBond(t *testing.T) {
	w := pod(t, "pod")
	r, sink := newRecords(t), newSink()
	r.put(t, w)
	start(t, r, sink)
	steps := []struct {
		name, cause string
		do          func() error
	}{
		{"made", "link changed", func() error {
			b := netlink.NewLinkBond(netlink.LinkAttrs{Name: "bond0"})
			b.Mode, b.Miimon = netlink.BOND_MODE_ACTIVE_BACKUP, 100
			return netlink.LinkAdd(b)
		}},
		{"enslaved", "link changed", func() error {
			l, err := netlink.LinkByName("bond0")
			if err != nil {
				return err
			}
			return errors.Join(netlink.LinkSetDown(link("a")), netlink.LinkSetMasterByIndex(link("a"), l.Attrs().Index), setUpLink("bond0"))
		}},
		{"option changed while up", "link changed", func() error {
			b := netlink.NewLinkBond(netlink.LinkAttrs{Name: "bond0"})
			b.Miimon = 200
			return netlink.LinkModify(b)
		}},
		{"released", "link changed", func() error { return netlink.LinkSetNoMaster(link("a")) }},
		{"deleted", "link removed", func() error { return netlink.LinkDel(link("bond0")) }},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			sink.drain()
			in(t, w.Sandbox, step.do)
			sink.until(t, w.Key, step.cause)
		})
	}
}
