package linktest

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// Kernel is the subject of the contract: the methods of reconcile.Kernel, which documents them.
type Kernel interface {
	Observe(ctx context.Context, r *bond.Record) (bond.Observed, error)
	Aggregator(ctx context.Context, r *bond.Record) (*bond.Aggregator, error)
	Unannounced(ctx context.Context, r *bond.Record, o bond.Observed) bond.Observed
	Apply(ctx context.Context, r *bond.Record, a plan.Action) error
}

// Harness is a Kernel with what changes links from outside. Links are named by the path of their netns (Host for the
// host's) and their name there, VFs and PFs by PCI address.
type Harness interface {
	Kernel
	// AddPod makes a netns at path, which is in /run/netns; the harness deletes it at the end of the test. An existing
	// one is replaced by one with another inode.
	AddPod(path string) bond.Sandbox
	DeletePod(path string) error
	// AddMember makes or takes a link, moves it into the pod, down, and returns it as a record has it.
	AddMember(path, name string) (bond.Member, error)
	AddImpostor(path, name string) (bond.Link, error)
	// AddTwin makes a link of the same kind as a member that is not a VF, with a chosen ifindex.
	AddTwin(path, name string, index int) error
	// Link reads one link, independently of the kernel under test.
	Link(path, name string) (bond.Link, bool)

	Rename(path, name, to string) error
	MoveToHost(path, name string) error
	MoveToNetns(path, name, toPath, to string) error
	SetUp(path, name string) error
	SetDown(path, name string) error
	SetMAC(path, name string, m bond.MAC) error
	SetMTU(path, name string, mtu int) error
	// SetCarrier plugs or unplugs the cable of a member.
	SetCarrier(path, name string, on bool) error
	// Silence has neither ARP targets nor an LACP partner respond behind a member. With a real kernel this is so
	// anyway.
	Silence(path, name string) error
	AddBond(path, name string) error
	Enslave(path, name, bondName string) error
	Release(path, name string) error
	AddMacvlan(path, name, lower string) error
	DeleteLink(path, name string) error
	DeleteBond(path, name string) error
	FlushAddresses(path, name string) error
	// AddAddresses and AddRoutes add all with one command, to and through any link.
	AddAddresses(path, name string, all []netip.Prefix) error
	AddRoutes(path, name string, all []bond.Route) error
	// AddSharedRoute adds a route with two next hops to the main table.
	AddSharedRoute(path string, r bond.Route, hops [2]Hop) error
	// SetSettings does what tuning does to a link; AddVRF makes a VRF with its own table, up.
	SetSettings(path, name string, c bond.SettingsChange) error
	AddVRF(path, name string, table int) error
	// AddQdisc and DeleteQdisc do what tc(8) does: clsact, or another kind at the root.
	AddQdisc(path, name, kind string) error
	DeleteQdisc(path, name, kind string) error
	// SetEthtool does what ethtool(8) does: "ring rx", "feature tx-checksum-ip-generic".
	SetEthtool(path, name, setting, value string) error

	UnbindVF(pci bond.PCIAddress) error
	BindVF(pci bond.PCIAddress) error
	// LoseCarrier resets the VF so that it loses its carrier permanently.
	LoseCarrier(pci bond.PCIAddress) error
	SetNumVFs(pf string, n int) error
	// PFOf returns the PF of a VF.
	PFOf(pci bond.PCIAddress) (string, error)
	// SetVF changes what the PF has for a VF, as ip(8) does.
	SetVF(pci bond.PCIAddress, s bond.VFSettings) error
	UnbindPF(pf string) error
	BindPF(pf string) error
	// Attach writes sriov-cni's files for member i, and records them.
	Attach(r *bond.Record, i int)
	// Claim writes sriov-cni's claim on a VF, Cache a cache file; "" removes them. BreakClaim makes a claim unreadable.
	Claim(pci bond.PCIAddress, path string)
	BreakClaim(pci bond.PCIAddress)
	Cache(path string, pci bond.PCIAddress)
}

// Hop is one next hop of a route with several.
type Hop struct {
	Link    string
	Gateway netip.Addr
}

// Env is an environment in which the contract can run.
type Env struct {
	// Bonding: the kernel has the bonding driver. VFs: members are VFs, spread over the PFs, each of which has NumVFs.
	Bonding, VFs bool
	NumVFs       int
	// VFDriver is the VFs' PCI driver.
	VFDriver string
	// PFSettings: the PFs have settings for their VFs. FixedCarrier: nothing outside of a VF takes its carrier.
	PFSettings, FixedCarrier bool
	// ResetsMAC: a VF whose link was set down, or whose MTU was changed, has its card's MAC.
	ResetsMAC bool
	// LinkState: the PFs' driver supports link-state requests.
	LinkState bool
	// Release is the kernel's, as uname -r prints it: the least that its options must be.
	Release string
	// reported are the options that the kernel reports in mode 802.3ad, which has the most. Stable series have some of
	// newer versions.
	reported bond.Options
	// Reason is why cases are skipped.
	Reason string
	// Open makes a harness for one test and removes it at the test's end.
	Open func(t *testing.T) Harness
}

// need is a requirement of a case.
type need uint8

const (
	anything need = 0
	bonding_ need = 1 << (iota - 1)
	vfs_
	virtual_  // it is about members that are not VFs
	settings_ // it is about settings that PFs have for VFs
	carrier_  // something outside of a member takes its carrier
	cardMAC_  // a reset gives a VF its card's MAC
)

type contractCase struct {
	name  string
	needs need
	run   func(s *fixture)
}

// RunContract runs every case with its own harness. Cases that the env cannot run are skipped with its reason.
func RunContract(t *testing.T, env Env) {
	if env.Bonding {
		t.Run("the kernel's options", func(t *testing.T) {
			s := newFixture(t, env)
			s.try(bond.Options{bond.OptMode: bond.Mode8023AD.String()}, func() { s.env.reported = s.see().Bond.Options })
			s.hasItsOptions()
			env.reported = s.env.reported
		})
	}
	for _, c := range contractCases() {
		if c.needs&virtual_ != 0 && env.VFs {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			switch {
			case c.needs&bonding_ != 0 && !env.Bonding:
				t.Skipf("needs the bonding driver: %s", env.Reason)
			case c.needs&vfs_ != 0 && !env.VFs:
				t.Skipf("needs VFs: %s", env.Reason)
			case c.needs&settings_ != 0 && !env.PFSettings:
				t.Skipf("needs PFs with settings for their VFs: %s", env.Reason)
			case c.needs&carrier_ != 0 && env.FixedCarrier:
				t.Skipf("needs members that lose their carrier: %s", env.Reason)
			case c.needs&cardMAC_ != 0 && !env.ResetsMAC:
				t.Skipf("needs VFs that have their card's MAC after a reset: %s", env.Reason)
			}
			c.run(newFixture(t, env))
		})
	}
}

func contractCases() []contractCase {
	var all []contractCase
	for _, section := range [][]contractCase{
		linkCases, netnsCases, virtualCases, bondCases, macCases, optionCases, memberOptionCases, networkCases, settingsCases, vfCases,
		ownershipCases, crowdCases,
	} {
		all = append(all, section...)
	}
	if os.Getenv(walkCount) != "" {
		all = append(all, walkCases...)
	}
	return all
}

// walkCount is the variable that adds random walks to the suite (make walk), which search for unforeseen differences. A
// real card's carrier may come at a moment that the fake does not model, so walks are no part of make test.
const walkCount = "BONDKEEPER_WALKS"

var fixtures atomic.Int64

// newFixture makes a pod with two members, down, and a record that names them.
func newFixture(t *testing.T, env Env) *fixture {
	t.Helper()
	s := &fixture{T: t, env: env, w: env.Open(t)}
	id := fmt.Sprintf("bk-%d-%d", os.Getpid(), fixtures.Add(1))
	s.path = "/run/netns/" + id
	s.r = &bond.Record{
		Key: bond.Key{ContainerID: id, IfName: "bond0"}, Phase: bond.PhaseReady,
		Sandbox: s.w.AddPod(s.path),
	}
	for _, name := range []string{"net1", "net2"} {
		m, err := s.w.AddMember(s.path, name)
		s.must(err, "make member %s", name)
		s.r.Members = append(s.r.Members, m)
	}
	return s
}

func addr(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// otherMAC is a MAC that no link has.
func otherMAC(n int) bond.MAC { return bond.MAC(fmt.Sprintf("02:be:ef:00:00:%02x", n)) }

// oneLine formats a state for failure messages.
func oneLine(v any) string { return strings.Join(strings.Fields(fmt.Sprintf("%+v", v)), " ") }
