package faults

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

const recovered = "back as before"

// Why a row has no steps.
const (
	process = "it happens to the agent's process"
	ownPod  = "it happens to a pod that other plugins set up or take down"
)

// Rows is the catalogue.
func Rows() []Fault {
	all := append(vfRows(), podRows()...)
	all = append(all, writerRows()...)
	all = append(all, agentRows()...)
	return append(all, hostRows()...)
}

// vfRows are faults of VFs and cards.
func vfRows() []Fault {
	return []Fault{
		{Name: "VF driver unbind and bind, agent stopped", Expect: "stays in the host until an agent comes", Special: process},
		{Name: "VF driver unbind, later bind", Expect: recovered, Member: true, Steps: []Step{{What: "its driver releases the VF", Do: unbind}, {What: "its driver takes the VF", Do: bind}}},
		{Name: "both VFs lost, back in order", Expect: recovered, Steps: bothLost(bind, bindOther)},
		{Name: "both VFs lost, back in reverse order", Expect: recovered, Steps: bothLost(bindOther, bind)},
		{Name: "sriov_numvfs 0, then N", Expect: recovered + ", in both pods", Card: true, Steps: []Step{
			{What: "sriov_numvfs becomes 0", Do: func(b *Bond, m int) error { return b.SetNumVFs(b.pf(m), 0) }}, {What: "sriov_numvfs is as before", Do: allVFs},
		}},
		{Name: "PF driver unbind, bind, sriov_numvfs", Expect: recovered + ", in both pods", Card: true, Steps: []Step{
			{What: "its driver releases the PF", Do: func(b *Bond, m int) error { return b.UnbindPF(b.pf(m)) }},
			{What: "its driver takes the PF", Do: func(b *Bond, m int) error { return b.BindPF(b.pf(m)) }},
			{What: "the PF is set up", Do: setPF(true)},
			{What: "sriov_numvfs is as before", Do: allVFs},
		}},
		{Name: "VF moved to the host by hand", Expect: recovered, Member: true, Steps: once(func(b *Bond, m int) error { return b.MoveToHost(b.Path, b.name(m)) })},
		{Name: "VF reset (function-level)", Expect: "bounced once, then complete or reported", Flags: []string{"--carrier-patience", "4s"}, Needs: Needs{ResetDropsCarrier: true},
			Special: "whether a bounce helps depends on the card", Engine: "TestStuckVFIsBouncedOnce"},
		{Name: "PF down, PF up", Expect: "degraded, then ready", Outcome: "reported degraded, then ready", Card: true, Failover: true, Needs: Needs{VFsFollowPF: true}, Steps: []Step{
			{What: "the PF is set down", Do: setPF(false), State: bond.StateDegraded, Untouched: true},
			{What: "the PF is set up", Do: setPF(true), State: bond.StateReady, Untouched: true},
		}},
	}
}

// podRows are a pod's changes of its links.
func podRows() []Fault {
	return []Fault{
		{Name: "member released (nomaster)", Expect: recovered, Member: true, Steps: once(func(b *Bond, m int) error { return b.Release(b.Path, b.name(m)) })},
		{Name: "member renamed in the pod", Expect: recovered, Member: true, Steps: once(func(b *Bond, m int) error { return b.Rename(b.Path, b.name(m), "other0") })},
		{Name: "members swap names", Expect: recovered, Paused: true, Minor: true, Steps: once(func(b *Bond, _ int) error {
			return errors.Join(b.Rename(b.Path, b.name(0), "swap"), b.Rename(b.Path, b.name(1), b.name(0)), b.Rename(b.Path, "swap", b.name(1)))
		})},
		{Name: "bond deleted", Expect: "created again", Steps: once(func(b *Bond, _ int) error { return b.DeleteLink(b.Path, b.Name) })},
		{Name: "bond renamed", Expect: recovered, Minor: true, Steps: once(func(b *Bond, _ int) error { return b.Rename(b.Path, b.Name, "other") })},
		{Name: "bond takes a member's name", Expect: recovered, Paused: true, Member: true, Minor: true, Steps: once(func(b *Bond, m int) error {
			return errors.Join(b.Rename(b.Path, b.name(m), "x"), b.Rename(b.Path, b.Name, b.name(m)))
		})},
		{Name: "bond set down", Expect: recovered, Steps: once(func(b *Bond, _ int) error { return b.SetDown(b.Path, b.Name) })},
		{Name: "member set down", Expect: recovered, Member: true, Steps: once(func(b *Bond, m int) error { return b.SetDown(b.Path, b.name(m)) })},
		{Name: "member's MTU changed", Expect: recovered, Member: true, Steps: once(func(b *Bond, m int) error { return b.SetMTU(b.Path, b.name(m), 1300) })},
		{Name: "bond's MTU changed", Expect: recovered, Setting: "MTU", Steps: once(func(b *Bond, _ int) error { return b.SetMTU(b.Path, b.Name, 1300) })},
		{Name: "active member's MAC changed", Expect: recovered, OwnMACs: true, Steps: once(func(b *Bond, m int) error { return b.SetMAC(b.Path, b.name(m), "02:00:00:00:00:99") })},
		{Name: "addresses flushed", Expect: recovered, Setting: "network", Steps: once(func(b *Bond, _ int) error { return b.FlushAddresses(b.Path, b.Name) })},
		{Name: "route deleted", Expect: recovered, Setting: "network", Steps: once(func(b *Bond, _ int) error {
			return b.DeleteRoute(b.Path, b.Name, netip.MustParsePrefix("0.0.0.0/0"))
		})},
		{Name: "bond option changed (miimon)", Expect: recovered, Steps: once(func(b *Bond, _ int) error { return b.SetOption(b.Path, b.Name, bond.OptMiimon, "250") })},
		{Name: "bond option that cannot be changed live", Expect: "reported and left alone", Outcome: "reported, left alone", Paused: true, OwnMACs: true, Steps: []Step{
			{What: "members released, fail_over_mac changed, members enslaved again", Do: changeFailOverMac, State: bond.StateStuck, Report: "failOverMac", Untouched: true},
			// This is what the report recommends. Releasing the members by hand is a race with the agent.
			{What: "the bond is deleted", Do: func(b *Bond, _ int) error { return b.DeleteLink(b.Path, b.Name) }},
		}},
		{Name: "impostor with the name of a lost VF", Expect: "not enslaved, reported; VF gets its name later", Outcome: "reported, healed beside it", Member: true, Steps: []Step{
			{What: "its driver releases the VF, and the pod makes a dummy with the VF's name", Do: replaceByDummy, State: bond.StateStuck, Report: `kind "dummy"`},
			{What: "its driver takes the VF", Do: bind, Check: besideDummy},
			{What: "the pod deletes the dummy", Do: func(b *Bond, m int) error { return b.DeleteLink(b.Path, b.name(m)) }},
		}},
		{Name: "pod's netns deleted while a VF is away", Expect: "VF stays in the host, no error loop", Flags: []string{"--resync", "3s"}, Special: ownPod, Engine: "TestSandboxGone"},
	}
}

// writerRows are losses in pods that other programs also configure.
func writerRows() []Fault {
	// Long enough for the other program's changes after ADD.
	setup := []string{"--setup-quiet", "8s"}
	return []Fault{
		{Name: "default route set elsewhere by Multus, bond deleted", Expect: "back without the route", Flags: setup, Special: ownPod, Engine: "TestRouteRemovedInSetupStaysAway"},
		{Name: "chain with tuning and sbr, bond deleted", Expect: "back with settings, sysctls and routing table", Flags: setup, Special: ownPod, Engine: "TestSetupSurvivesLosses"},
		{Name: "VLAN and trust of a VF changed on its PF", Expect: recovered, Flags: []string{"--resync", "2s"}, Needs: Needs{VFSettings: true}, Special: ownPod, Engine: "TestRequestedPFSettingsAreRestored"},
		{Name: "VF released by sriov-cni while the record exists", Expect: "reported, left to its owner", Needs: Needs{VFSettings: true}, Special: ownPod, Engine: "TestNextTenantRetainsItsSettings"},
	}
}

// agentRows are faults of the agent's process.
func agentRows() []Fault {
	return []Fault{
		{Name: "agent killed in a storm, started again", Expect: "all bonds back as before", Special: process, Engine: "TestRandomWalks"},
		{Name: "agent restarted, all bonds healthy", Expect: "not one change in the kernel", Special: process, Engine: "TestMakesTheBondOnceAndThenIsSilent"},
		{Name: "netlink socket overrun", Expect: "counted, everything reconciled again", Flags: []string{"--receive-buffer", "16384", "--resync", "10m"}, Special: process},
		{Name: "two agents", Expect: "the second says so and waits", Special: process, Engine: "TestBothSidesAtOnce"},
	}
}

// hostRows are what the host's programs do to VFs that return.
func hostRows() []Fault {
	return []Fault{
		{Name: "VF configured by the host as it returns", Expect: recovered, Minor: true, Special: "the host races with the agent", Engine: "TestHostConfiguresAReturnedVF"},
		{Name: "VFs created without drivers, bound later", Expect: recovered + ", in both pods", Minor: true, Special: "it happens to all VFs of a card, bound one by one", Engine: "TestLinkThatComesLate"},
	}
}

// once is a fault that the agent repairs by itself.
func once(do func(*Bond, int) error) []Step { return []Step{{Do: do}} }

func unbind(b *Bond, m int) error { return b.UnbindVF(b.pci(m)) }
func bind(b *Bond, m int) error   { return b.BindVF(b.pci(m)) }

func bindOther(b *Bond, m int) error { return bind(b, 1-m) }

func bothLost(first, second func(*Bond, int) error) []Step {
	return []Step{
		{What: "the driver releases both VFs", BothLost: true, Do: func(b *Bond, _ int) error { return errors.Join(unbind(b, 0), unbind(b, 1)) }},
		{What: "the driver takes them", Do: func(b *Bond, m int) error { return errors.Join(first(b, m), second(b, m)) }},
	}
}

func allVFs(b *Bond, m int) error { return b.SetNumVFs(b.pf(m), b.NumVFs) }

func setPF(up bool) func(*Bond, int) error {
	return func(b *Bond, m int) error { return b.SetPF(b.pf(m), up) }
}

// changeFailOverMac changes an option that can only be changed on a bond without members.
func changeFailOverMac(b *Bond, _ int) error {
	err := errors.Join(b.Release(b.Path, b.name(0)), b.Release(b.Path, b.name(1)), b.SetOption(b.Path, b.Name, bond.OptFailOverMac, "follow"))
	for m := range b.Members {
		err = errors.Join(err, b.Enslave(b.Path, b.name(m), b.Name), b.SetUp(b.Path, b.name(m)))
	}
	return err
}

func replaceByDummy(b *Bond, m int) error {
	lost := unbind(b, m)
	_, err := b.AddImpostor(b.Path, b.name(m))
	return errors.Join(lost, err)
}

// besideDummy: the VF is in the bond under its temporary name, and the dummy is not.
func besideDummy(b *Bond, m int) error {
	of, _ := b.Link(b.Path, b.Name)
	dummy, _ := b.Link(b.Path, b.name(m))
	vf, _ := b.Link(b.Path, b.Members[m].TempName())
	if of.Index == 0 || vf.Master != of.Index || !vf.Carrier || dummy.Kind != "dummy" || dummy.Up || dummy.Master != 0 {
		return fmt.Errorf("bond %+v, VF %+v, dummy %+v", of, vf, dummy)
	}
	return nil
}
