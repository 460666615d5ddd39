package reconcile_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// forEachMember runs a test with a bond whose members keep their MACs and one whose members share one, for each member.
func forEachMember(t *testing.T, run func(t *testing.T, r *fixture, i int)) {
	for name, options := range map[string]bond.Options{
		"own MACs": scenario.OKD(), "one MAC": {bond.OptMode: "balance-rr", bond.OptMiimon: "100"},
	} {
		for i := range 2 {
			t.Run(fmt.Sprintf("%s/net%d", name, i+1), func(t *testing.T) { run(t, ready(t, options), i) })
		}
	}
}

// recreate deletes a card's VFs and creates them again: the PF has lost its settings.
func (r *fixture) recreate(i int) {
	r.t.Helper()
	must(r.t, r.SetNumVFs(scenario.Cards[i], 0))
	_, err := r.converge()
	must(r.t, err)
	must(r.t, r.SetNumVFs(scenario.Cards[i], 2))
}

// minute converges as the agent does for a minute, and returns the last outcome and the number of tries.
func (r *fixture) minute(between func()) (out reconcile.Outcome, tries int) {
	r.t.Helper()
	applies := r.Applies()
	for end := r.clock.Now().Add(time.Minute); r.clock.Now().Before(end); {
		out, _ = r.converge()
		between()
		r.clock.turn(out.RetryAfter)
		if out.RetryAfter == 0 {
			break
		}
	}
	return out, r.Applies() - applies
}

// wantReported checks the state of a bond that cannot be repaired, and that little was tried.
func (r *fixture) wantReported(out reconcile.Outcome, tries int, state bond.State, reason string) {
	r.t.Helper()
	if out.Status.State != state || !strings.Contains(out.Status.Reason, reason) {
		r.t.Errorf("%s: %s, want %s: %s", out.Status.State, out.Status.Reason, state, reason)
	}
	if tries > 20 {
		r.t.Errorf("%d actions in a minute", tries)
	}
}

// TestMACThatComesLate: iavf may report a MAC as set before its PF has accepted it. The VF waits in the host for it: in
// the bond it would give the bond its wrong MAC, for good.
func TestMACThatComesLate(t *testing.T) {
	forEachMember(t, func(t *testing.T, r *fixture, i int) {
		recorded := r.Record.Spec.MAC + " " + r.Record.Members[0].MAC + " " + r.Record.Members[1].MAC
		check := func() {
			if l, ok := r.Link(scenario.PodPath, scenario.BondIf); !ok || !strings.Contains(string(recorded), string(l.MAC)) {
				t.Errorf("the bond has MAC %s, want one of %s", l.MAC, recorded)
			}
		}
		must(t, r.LateMACs(scenario.Cards[i], true))
		r.recreate(i)
		out, tries := r.minute(check)
		r.wantReported(out, tries, bond.StateStuck, "its PF has not accepted it yet, or has rejected it")
		for range 3 { // the MAC that enslaving sets is late, too
			r.DeliverMACs(true)
			_, _ = r.converge()
			check()
			r.clock.turn(time.Minute)
		}
		r.wantState(bond.StateReady)
		check()
	})
}

// TestMACThatIsRejectedLate: the PF rejects what the driver has reported as set.
func TestMACThatIsRejectedLate(t *testing.T) {
	forEachMember(t, func(t *testing.T, r *fixture, i int) {
		must(t, r.LateMACs(scenario.Cards[i], true))
		r.recreate(i)
		out, tries := r.minute(func() { r.DeliverMACs(false) })
		r.wantReported(out, tries, bond.StateStuck, "trust the VF on its PF")
		must(t, r.LateMACs(scenario.Cards[i], false))
		r.wantState(bond.StateReady)
	})
}

// TestDELWithALateMAC: a MAC that the driver does not set delays no DEL.
func TestDELWithALateMAC(t *testing.T) {
	r := ready(t, scenario.OKD())
	for i := range r.Record.Members {
		r.Record.Members[i].Original.MAC = bond.MAC(fmt.Sprintf("02:00:00:00:0a:%02x", i))
	}
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error { rec.Members = r.Record.Members; return nil }))
	for _, card := range scenario.Cards {
		must(t, r.LateMACs(card, true))
	}
	_ = r.engine.Release(t.Context(), r.Record.Key)
	if _, ok := r.Link(scenario.PodPath, scenario.BondIf); ok {
		t.Errorf("the bond is still there\n%s", r.Node)
	}
}

// TestMACThatThePFRejects: ice and i40e reject another MAC for an untrusted VF than the PF's own. The reason says what
// to do. A VF that is trusted then is attached, and that its PF has another MAC is reported as long as it has.
func TestMACThatThePFRejects(t *testing.T) {
	forEachMember(t, func(t *testing.T, r *fixture, i int) {
		other := bond.MAC("02:00:00:00:00:77")
		must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error {
			rec.Members[i].VF.Settings.MAC, rec.Members[i].VF.Settings.Trust = nil, nil
			return nil
		}))
		must(t, r.UnbindVF(r.VFs[i]))
		must(t, r.SetVF(r.VFs[i], bond.VFSettings{MAC: &other, Trust: new(false)}))
		must(t, r.BindVF(r.VFs[i]))
		out, tries := r.minute(func() {})
		r.wantReported(out, tries, bond.StateStuck, "trust")
		must(t, r.SetVF(r.VFs[i], bond.VFSettings{Trust: new(true)}))
		if out := r.convergeUntilIdle(); len(out.Unattached()) > 0 {
			t.Errorf("not attached though it is trusted: %s", out.Status.Reason)
		}
		must(t, r.SetVF(r.VFs[i], bond.VFSettings{MAC: new(bond.MAC("00:00:00:00:00:00"))}))
		must(t, r.SetDown(scenario.PodPath, r.Record.Members[i].Name)) // its driver reports its MAC again
		r.clock.turn(time.Hour)
		r.wantState(bond.StateReady)
	})
}

// TestLinkInAnotherNetns: mlx5 creates a VF's link in the netns of the VF's devlink instance.
func TestLinkInAnotherNetns(t *testing.T) {
	forEachMember(t, func(t *testing.T, r *fixture, i int) {
		before := r.inPod()
		must(t, r.UnbindVF(r.VFs[i]))
		_, err := r.converge()
		must(t, err)
		must(t, r.BindVFIn(r.VFs[i], scenario.PodPath))
		r.wantState(bond.StateReady)
		if after := r.inPod(); after != before {
			t.Errorf("not as before:\n%s\nbut\n%s", before, after)
		}

		const elsewhere = "/run/netns/elsewhere"
		r.AddPod(elsewhere)
		must(t, r.UnbindVF(r.VFs[i]))
		must(t, r.BindVFIn(r.VFs[i], elsewhere))
		out, tries := r.minute(func() {})
		r.wantReported(out, tries, bond.StateDegraded, "its link is in another netns or will come")
		if tries != 0 || out.RetryAfter != 0 {
			t.Errorf("%d actions about a link in another netns, retry after %s", tries, out.RetryAfter)
		}
		_, l, _ := r.Netdev(r.VFs[i])
		must(t, r.MoveToNetns(elsewhere, l.Name, linktest.Host, ""))
		r.wantState(bond.StateReady)
	})
}

// TestLinkThatComesLate: the link comes seconds after the driver was bound. There is an event for it, so nothing polls.
func TestLinkThatComesLate(t *testing.T) {
	forEachMember(t, func(t *testing.T, r *fixture, i int) {
		must(t, r.UnbindVF(r.VFs[i]))
		must(t, r.BindVFLate(r.VFs[i]))
		out, tries := r.minute(func() {})
		r.wantReported(out, tries, bond.StateDegraded, "will come")
		if tries != 0 || out.RetryAfter != 0 {
			t.Errorf("%d actions about a link that is not there, retry after %s", tries, out.RetryAfter)
		}
		must(t, r.BindVF(r.VFs[i]))
		r.wantState(bond.StateReady)
	})
}

// TestHostConfiguresAReturnedVF: udev renames a link, and a network manager sets it up and gives it addresses, before it
// is read or just before it is moved. It enters the pod without them.
func TestHostConfiguresAReturnedVF(t *testing.T) {
	forEachMember(t, func(t *testing.T, r *fixture, i int) {
		before := r.inPod()
		configure := func() {
			path, l, found := r.Netdev(r.VFs[i])
			if !found || path != linktest.Host {
				return
			}
			if l.Name != "enp1s0v0" {
				must(t, r.Rename(linktest.Host, l.Name, "enp1s0v0"))
			}
			must(t, r.SetUp(linktest.Host, "enp1s0v0"))
			must(t, r.AddAddress(linktest.Host, "enp1s0v0", netip.MustParsePrefix("169.254.7.7/16")))
			must(t, r.SetMTU(linktest.Host, "enp1s0v0", 9000))
		}
		for _, when := range []string{"before", "between"} {
			must(t, r.UnbindVF(r.VFs[i]))
			_, err := r.converge()
			must(t, err)
			must(t, r.BindVF(r.VFs[i]))
			if when == "before" {
				configure()
			} else {
				r.BeforeApply(func(plan.Action) { configure() })
			}
			r.wantState(bond.StateReady)
			r.BeforeApply(nil)
			if after := r.inPod(); after != before {
				t.Errorf("configured %s: not as before:\n%s\nbut\n%s", when, before, after)
			}
			r.clock.turn(time.Hour)
		}
	})
}

// TestHostEnslavesAReturnedVF: a network manager has taken the VF for a bond of the host, just before it was moved. It is
// not taken from there.
func TestHostEnslavesAReturnedVF(t *testing.T) {
	forEachMember(t, func(t *testing.T, r *fixture, i int) {
		must(t, r.AddBond(linktest.Host, "team0", bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "active"}))
		must(t, r.UnbindVF(r.VFs[i]))
		_, err := r.converge()
		must(t, err)
		must(t, r.BindVF(r.VFs[i]))
		_, l, _ := r.Netdev(r.VFs[i])
		r.BeforeApply(func(plan.Action) { _ = r.Enslave(linktest.Host, l.Name, "team0") })
		_, _ = r.converge()
		r.BeforeApply(nil)
		out, tries := r.minute(func() {})
		r.wantReported(out, tries, bond.StateStuck, "is enslaved in the host")
		if path, at, _ := r.Netdev(r.VFs[i]); path != linktest.Host || at.Master == 0 || tries != 0 {
			t.Errorf("taken from the host's bond: %+v in %s, %d actions", at, path, tries)
		}
		must(t, r.Release(linktest.Host, l.Name))
		r.wantState(bond.StateReady)
	})
}

// TestSettingsAfterALossThatWasNotObserved: a VF that its driver has created again in the pod before the loss was
// observed, for example while no agent ran, has a new link. Its settings are restored and not learned from that.
func TestSettingsAfterALossThatWasNotObserved(t *testing.T) {
	r := ready(t, scenario.OKD())
	want := bond.SettingsChange{TxQLen: new(77), Sysctls: []bond.Sysctl{{Family: "ipv4", Name: "arp_notify", Value: 1}}}
	must(t, r.SetSettings(scenario.PodPath, "net1", want))
	for n := range 3 {
		r.wantState(bond.StateReady)
		must(t, r.UnbindVF(r.VFs[0]))
		_, err := r.AddImpostor(scenario.PodPath, fmt.Sprintf("x%d", n)) // has the ifindex that the lost link had
		must(t, err)
		if n < 2 {
			must(t, r.BindVFIn(r.VFs[0], scenario.PodPath))
		} else {
			must(t, r.BindVF(r.VFs[0]))
		}
		r.restart()
		out := r.wantState(bond.StateReady)
		have := out.Observed.Members[0].Settings
		if v, _ := have.Sysctl("ipv4", "arp_notify"); have.TxQLen != 77 || v != 1 || out.Record.Members[0].Restoring {
			t.Errorf("loss %d: txqlen %d, arp_notify %d, restoring %t", n+1, have.TxQLen, v, out.Record.Members[0].Restoring)
		}
	}
	must(t, r.SetSettings(scenario.PodPath, "net1", bond.SettingsChange{TxQLen: new(78)}))
	if out := r.wantState(bond.StateReady); out.Record.Members[0].Settings.TxQLen != 78 || out.Observed.Members[0].Settings.TxQLen != 78 {
		t.Errorf("changed since: recorded %d", out.Record.Members[0].Settings.TxQLen)
	}
}

// TestMACAfterALossOfTwoKinds: a VF that its driver has created again in the pod is not in the bond, and has another name.
// A VF may also leave the bond while another loss of it is open. The bond has its MAC again afterwards.
func TestMACAfterALossOfTwoKinds(t *testing.T) {
	for name, lose := range map[string]func(r *fixture){
		"at once": func(r *fixture) {
			must(t, r.UnbindVF(r.VFs[0]))
			must(t, r.BindVFIn(r.VFs[0], scenario.PodPath))
		},
		"one after the other": func(r *fixture) {
			r.FailApplyIf(func(a plan.Action) error {
				if _, ok := a.(plan.Rename); ok {
					return unix.EPERM
				}
				return nil
			})
			must(t, r.Rename(scenario.PodPath, "net1", "x"))
			_, _ = r.converge()
			must(t, r.Release(scenario.PodPath, "x"))
			_, _ = r.converge()
			r.FailApplyIf(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			lose(r)
			if out := r.wantState(bond.StateReady); out.Status.MAC != r.Record.Spec.MAC || out.Status.Active != "net1" {
				t.Errorf("MAC %s, %s is active; want %s and net1\n%s", out.Status.MAC, out.Status.Active, r.Record.Spec.MAC, r.Node)
			}
		})
	}
}
