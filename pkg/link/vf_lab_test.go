//go:build lab

package link

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const (
	guestNetns = "/proc/1/ns/net"
	pciRoot    = "/sys/bus/pci/devices"
	oldMAC     = bond.MAC("02:aa:bb:cc:dd:01")
	elseMAC    = bond.MAC("02:aa:bb:cc:dd:02")
)

// vfFixture is the guest with a newly created VF, a pod for it, and a neighbour: a VF of the other card in its own
// netns, with 10.0.0.2.
type vfFixture struct {
	*fixture
	guest     *topology.Topology
	card      topology.Card
	pf, vf    bond.PCIAddress
	neighbour string // its netns
	other     string // and link
}

func newVFFixture(t *testing.T) *vfFixture {
	t.Helper()
	top, err := topology.Load()
	kit.Must(t, err)
	k, err := New(Options{ClaimDir: t.TempDir()})
	kit.Must(t, err)
	g := &vfFixture{fixture: &fixture{TB: t, k: k, host: guestNetns, pod: netnstest.New(t)}, guest: top, card: top.Cards[0], neighbour: netnstest.New(t)}
	g.pf, g.vf = bond.PCIAddress(g.card.PF.PCI), bond.PCIAddress(g.card.VFs[0].PCI)
	for _, c := range top.Cards[:2] {
		g.sysfs(c.PF.PCI+"/sriov_numvfs", "0")
		g.sysfs(c.PF.PCI+"/sriov_numvfs", "1")
		g.in(g.host, "link", "set", g.netdev(bond.PCIAddress(c.PF.PCI)), "up")
	}
	g.other = g.netdev(bond.PCIAddress(top.Cards[1].VFs[0].PCI))
	g.in(g.host, "link", "set", g.other, "netns", g.neighbour)
	g.in(g.neighbour, "addr", "add", "10.0.0.2/24", "dev", g.other)
	g.in(g.neighbour, "link", "set", g.other, "up")
	g.r = &bond.Record{Key: bond.Key{ContainerID: "c", IfName: "bond0"}, Sandbox: sandboxAt(t, g.pod),
		Members: []bond.Member{{Name: "net1", PCI: g.vf, MAC: oldMAC, VF: &bond.VF{PF: g.pf}}}}
	if !top.Model.VFSettings {
		g.r.Members[0].VF = nil // as ADD records it
	}
	g.netdev(g.vf)
	return g
}

func (g *vfFixture) sysfs(path, text string) {
	g.Helper()
	kit.Must(g, os.WriteFile(filepath.Join(pciRoot, path), []byte(text), 0))
}

// netdev waits for a function's netdev in the host.
func (g *vfFixture) netdev(pci bond.PCIAddress) string {
	g.Helper()
	var name string
	kit.Eventually(g, "a netdev of "+string(pci), func() (ok bool) {
		var err error
		name, err = g.k.sysfs.netdevOf(pci)
		return err == nil
	})
	return name
}

// vfSet changes the PF's settings for the VF by hand.
func (g *vfFixture) vfSet(args ...string) {
	g.Helper()
	g.in(g.host, append([]string{"link", "set", g.netdev(g.pf), "vf", "0"}, args...)...)
}

func (g *vfFixture) vfRef() plan.LinkRef {
	g.Helper()
	m := g.see().Members[0]
	if m.Location == bond.Lost {
		g.Fatal("the VF is lost")
	}
	return plan.LinkRefOf(m.Location, &m.Link)
}

// carries reports whether the VF in the pod exchanges packets with its neighbour.
func (g *vfFixture) carries() bool {
	g.Helper()
	g.in(g.pod, "addr", "replace", "10.0.0.1/24", "dev", "net1")
	g.in(g.pod, "link", "set", "net1", "up")
	kit.Eventually(g, "a carrier", func() bool { return g.see().Members[0].Link.Carrier })
	kit.Eventually(g, "the neighbour's carrier", func() bool {
		return slices.Contains(g.show(g.neighbour, g.other).Flags, "LOWER_UP")
	})
	out, err := kit.Run(g.pod, "ping", "-c", "10", "-i", "0.2", "-W", "1", "10.0.0.2")
	g.Logf("%s", lastLines(out, 2))
	return err == nil
}

func lastLines(b []byte, n int) string {
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-n):], " | ")
}

// TestVFCarriesWithItsOldMAC is the result of a repair, whatever state the VF returned in.
func TestVFCarriesWithItsOldMAC(t *testing.T) {
	locked := bond.VFSettings{MAC: new(oldMAC), Trust: new(true), SpoofChk: new(true)}
	for _, tc := range []struct {
		name    string
		before  []string // set on the PF by hand, after the VF returned
		up      bool     // a user set the VF up in the host
		restore bond.VFSettings
	}{
		{"MAC of the VF's own choice", nil, false, bond.VFSettings{}},
		{"MAC set on the PF", nil, false, locked},
		{"and the VF up in the host", nil, true, locked},
		{"the PF has it already, the VF has another", []string{"mac", string(oldMAC)}, false, bond.VFSettings{}},
		{"the same, and it is set once more", []string{"mac", string(oldMAC)}, false, locked},
		{"the PF has another", []string{"mac", string(elseMAC)}, false, locked},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newVFFixture(t)
			if tc.before != nil || !tc.restore.Empty() {
				kit.NeedVFSettings(t)
			}
			if tc.before != nil {
				g.vfSet(tc.before...)
			}
			if tc.up {
				g.in(g.host, "link", "set", g.netdev(g.vf), "up")
			}
			if !tc.restore.Empty() {
				g.apply(plan.RestoreVF{PCI: g.vf, VF: bond.VF{PF: g.pf}, Settings: tc.restore})
			}
			g.apply(plan.MoveToPod{Link: g.vfRef(), Name: "net1", MAC: oldMAC, MTU: 1400})
			l := g.show(g.pod, "net1")
			if l.MAC != oldMAC || l.MTU != 1400 {
				t.Errorf("in the pod: %+v", l)
			}
			if !g.carries() {
				t.Error("it carries no traffic")
			}
			if l := g.show(g.pod, "net1"); l.MAC != oldMAC {
				t.Errorf("set up it has MAC %s", l.MAC)
			}
		})
	}
}

// TestVFOfAnotherMACStaysInTheHost: the PF insists on another MAC, and no setting can be changed. On Linux 6.1 igbvf
// accepts the MAC, and has the PF's once it is set up.
func TestVFOfAnotherMACStaysInTheHost(t *testing.T) {
	g := newVFFixture(t)
	kit.NeedVFSettings(t)
	g.vfSet("mac", string(elseMAC))
	err := g.k.Apply(t.Context(), g.r, plan.MoveToPod{Link: g.vfRef(), Name: "net1", MAC: oldMAC})
	if !bond.KernelAtLeast(kit.KernelRelease(), "6.12") && err == nil {
		before, carries, after := g.show(g.pod, "net1").MAC, g.carries(), g.show(g.pod, "net1").MAC
		if before != oldMAC || !carries || after != elseMAC {
			t.Errorf("in the pod it has MAC %s, set up %s, carries: %t", before, after, carries)
		}
		return
	}
	if !errors.Is(err, bond.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	t.Log(err)
	if m := g.see().Members[0]; m.Location != bond.InHost || m.Link.Up {
		t.Errorf("it is %+v", m)
	}
}

// TestFindMembersOfVFs: the PF's settings are recorded unchanged, with the VF in the pod or in the host.
func TestFindMembersOfVFs(t *testing.T) {
	g := newVFFixture(t)
	kit.NeedVFSettings(t)
	g.vfSet("mac", string(oldMAC), "vlan", "100", "qos", "3", "spoofchk", "off")
	g.vfSet("trust", "on")
	find := func(inHost bool, name string) bond.Member {
		t.Helper()
		found, err := g.k.FindMembers(t.Context(), bond.MemberQuery{Key: g.r.Key, Sandbox: g.r.Sandbox, Names: []string{name}, InHost: inHost})
		if err != nil || len(found.Missing()) > 0 || len(found.Warnings) > 0 {
			t.Fatalf("%+v, %v", found, err)
		}
		if pf := found.Links[0].PF; pf == nil || pf.MTU != 1500 {
			t.Errorf("its PF is %+v", pf)
		}
		return found.Links[0].Member
	}
	inHost := find(true, g.netdev(g.vf))
	v := inHost.VF
	if inHost.PCI != g.vf || v == nil || v.PF != g.pf || v.Number != 0 {
		t.Fatalf("in the host: %+v", inHost)
	}
	s := v.Settings
	if *s.MAC != oldMAC || *s.VLAN != (bond.VLAN{ID: 100, QoS: 3, Proto: 0x8100}) || *s.SpoofChk || !*s.Trust {
		t.Errorf("settings: %s", s)
	}
	g.in(g.host, "link", "set", g.netdev(g.vf), "netns", g.pod, "name", "net1")
	if inPod := find(false, "net1"); fmt.Sprint(inPod.VF.Settings) != fmt.Sprint(s) || inPod.VF.Number != 0 || inPod.PCI != g.vf {
		t.Errorf("in the pod: %+v, %s", inPod, inPod.VF.Settings)
	}
}
