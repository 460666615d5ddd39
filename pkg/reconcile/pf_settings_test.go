package reconcile_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// A change of what sriov-cni was asked for is undone and counts as a repair.
func TestRequestedPFSettingsAreRestored(t *testing.T) {
	for name, changed := range map[string]bond.VFSettings{
		"vlan":     {VLAN: &bond.VLAN{ID: 7, Proto: 0x8100}},
		"qos":      {VLAN: &bond.VLAN{ID: 100, QoS: 5, Proto: 0x8100}},
		"protocol": {VLAN: &bond.VLAN{ID: 100, Proto: 0x88a8}},
		"spoofchk": {SpoofChk: new(false)},
		"trust":    {Trust: new(false)},
		"rate":     {Rate: &bond.VFRate{Max: 10}},
		"mac":      {MAC: new(bond.MAC("02:be:ef:00:00:01"))},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			before, _ := r.VF(r.VFs[0])
			must(t, r.SetVF(r.VFs[0], changed))
			out := r.wantState(bond.StateReady)
			if now, _ := r.VF(r.VFs[0]); !before.Settings.Diff(now.Settings).Empty() {
				t.Errorf("the PF has %s, want %s", now.Settings, before.Settings)
			}
			if last := out.Record.Repairs.Last; last == nil || last.Cause != "PFSettingsChanged" || last.Member != "net1" {
				t.Errorf("last repair %+v", last)
			}
		})
	}
}

// TestDisabledVFIsLeftAlone: an operator disables a VF's link state on purpose. It is reported, and neither set down and
// up nor enabled, also after the VF was lost and is back.
func TestDisabledVFIsLeftAlone(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.convergeUntilIdle()
	before := r.Changes()
	must(t, r.SetVF(r.VFs[1], bond.VFSettings{LinkState: new(bond.LinkStateDisable)}))
	disabled := func() {
		t.Helper()
		out := r.wantState(bond.StateDegraded)
		if reason := out.Status.Members[1].Reason; !strings.Contains(reason, "disable on its PF ens2") || out.RetryAfter != 0 {
			t.Errorf("reason %q, retry after %s", reason, out.RetryAfter)
		}
	}
	disabled()
	r.clock.turn(time.Minute)
	disabled()
	if r.Changes() != before {
		t.Errorf("changed: %v", r.ChangeLog()[before:])
	}
	must(t, r.UnbindVF(r.VFs[1]))
	r.wantState(bond.StateDegraded)
	must(t, r.BindVF(r.VFs[1]))
	disabled()
	if vf, _ := r.VF(r.VFs[1]); !vf.Settings.HasLinkState(bond.LinkStateDisable) {
		t.Errorf("the PF has %s", vf.Settings)
	}
	must(t, r.SetVF(r.VFs[1], bond.VFSettings{LinkState: new(uint32(0))}))
	r.wantState(bond.StateReady)
}

// notRequested makes the record one of VFs for which sriov-cni was asked for nothing, after the pod's set-up.
func notRequested(t *testing.T, options bond.Options) *fixture {
	t.Helper()
	r := newFixture(t, options)
	for i := range r.Record.Members {
		r.Record.Members[i].VF.Settings = bond.VFSettings{}
	}
	must(t, r.store.Save(r.Record))
	r.convergeUntilIdle()
	return r
}

// What sriov-cni was not asked for is an administrator's: it is compared with what was observed, reported, and left
// alone.
func TestOtherPFSettingsAreReported(t *testing.T) {
	for name, tc := range map[string]struct {
		changed bond.VFSettings
		member  int
		state   bond.State
	}{
		"VLAN of the backup":    {bond.VFSettings{VLAN: &bond.VLAN{ID: 7, Proto: 0x8100}}, 1, bond.StateDegraded},
		"VLAN of the active":    {bond.VFSettings{VLAN: &bond.VLAN{ID: 7, Proto: 0x8100}}, 0, bond.StateDown},
		"protocol of the VLAN":  {bond.VFSettings{VLAN: &bond.VLAN{ID: 101, Proto: 0x88a8}}, 1, bond.StateDegraded},
		"MAC of the backup":     {bond.VFSettings{MAC: new(bond.MAC("02:be:ef:00:00:01"))}, 1, bond.StateDegraded},
		"priority of the VLAN":  {bond.VFSettings{VLAN: &bond.VLAN{ID: 101, QoS: 5, Proto: 0x8100}}, 1, bond.StateReady},
		"spoof checking":        {bond.VFSettings{SpoofChk: new(false)}, 1, bond.StateReady},
		"trust":                 {bond.VFSettings{Trust: new(true)}, 1, bond.StateReady},
		"rate":                  {bond.VFSettings{Rate: &bond.VFRate{Max: 10}}, 1, bond.StateReady},
		"link state is ignored": {bond.VFSettings{LinkState: new(uint32(1))}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := notRequested(t, scenario.OKD())
			before, repairs := r.Changes(), r.convergeUntilIdle().Status.Repairs
			must(t, r.SetVF(r.VFs[tc.member], tc.changed))
			out, err := r.converge()
			must(t, err)
			if r.Changes() != before {
				t.Errorf("changed: %v", r.ChangeLog()[before:])
			}
			wantDrift(t, out.Status, tc.member, tc.state)
			if out.Status.Repairs != repairs || len(out.Record.Repairs.Open) != 0 {
				t.Errorf("a repair was counted: %+v", out.Record.Repairs)
			}
		})
	}
}

func wantDrift(t *testing.T, s bond.Status, member int, state bond.State) {
	t.Helper()
	warned := slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.Contains(w, "its PF") })
	drifts := s.Members[member].State == bond.MemberPFDrift
	switch state {
	case "":
		if s.State != bond.StateReady || warned {
			t.Errorf("%+v", s)
		}
	case bond.StateReady:
		if s.State != state || !warned || drifts || s.Reason != "" {
			t.Errorf("want a warning: %+v", s)
		}
	default:
		if s.State != state || warned || !drifts || !strings.Contains(s.Reason, "its PF") || s.Active != "net1" {
			t.Errorf("want %s: %+v", state, s)
		}
	}
}

// The drift of one member keeps no loss of it open, and ends when the administrator undoes it.
func TestPFDriftIsNoLoss(t *testing.T) {
	r := notRequested(t, scenario.OKD())
	was, _ := r.VF(r.VFs[1])
	repairs := r.convergeUntilIdle().Status.Repairs
	must(t, r.SetVF(r.VFs[1], bond.VFSettings{VLAN: &bond.VLAN{ID: 7, Proto: 0x8100}}))
	must(t, r.Release(r.Path(), "net2"))
	r.convergeUntilIdle()
	out, err := r.converge()
	must(t, err)
	if out.Status.State != bond.StateDegraded || len(out.Record.Repairs.Open) != 0 || out.Status.Repairs != repairs+1 {
		t.Fatalf("%+v, repairs %+v", out.Status, out.Record.Repairs)
	}
	must(t, r.SetVF(r.VFs[1], bond.VFSettings{VLAN: was.Settings.VLAN}))
	r.wantState(bond.StateReady)
}

// The PF-side settings of a VF whose owner is not known are not written.
func TestPFSettingsOfUnknownOwner(t *testing.T) {
	for name, lose := range map[string]func(*fixture){
		"claim unreadable": func(r *fixture) { r.BreakClaim(r.VFs[1]) },
		"claim removed":    func(r *fixture) { r.Claim(r.VFs[1], "") },
		"claimed by another pod": func(r *fixture) {
			r.Claim(r.VFs[1], r.AddPod(scenario.PodPath+"2").Path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			lose(r)
			must(t, r.SetVF(r.VFs[1], bond.VFSettings{VLAN: &bond.VLAN{ID: 7, Proto: 0x8100}}))
			before := r.Changes()
			out, err := r.converge()
			must(t, err)
			if r.Changes() != before || out.Status.State != bond.StateDegraded {
				t.Errorf("%+v, changes %v", out.Status, r.ChangeLog()[before:])
			}
		})
	}
}

// In modes in which members swap MACs, a PF reports the MAC of another member.
func TestSwappedMACsAreNoDrift(t *testing.T) {
	options := bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "follow"}
	r := notRequested(t, options)
	must(t, r.SetCarrier(r.Path(), "net1", false))
	var out reconcile.Outcome
	for range 3 {
		var err error
		out, err = r.converge()
		must(t, err)
		r.clock.turn(time.Second)
	}
	for _, m := range out.Status.Members {
		if m.State == bond.MemberPFDrift {
			t.Errorf("%+v\n%s", out.Status, r.Node)
		}
	}
}

// A pod that ended without DEL leaves the settings that sriov-cni was asked for on the PF.
func TestRemainingPFSettingsAreReported(t *testing.T) {
	const message = "VF keeps settings on its PF: sriov-cni has not reset them"
	for name, tc := range map[string]struct {
		before func(*fixture)
		want   int
	}{
		"not reset":    {func(*fixture) {}, 2},
		"one is reset": {func(r *fixture) { must(t, r.SetVF(r.VFs[0], reset())) }, 1},
		"next tenant":  {func(r *fixture) { r.Claim(r.VFs[0], r.AddPod(scenario.PodPath+"2").Path) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			r.convergeUntilIdle()
			must(t, r.DeletePod(r.Path()))
			tc.before(r)
			core, logs := observer.New(zap.WarnLevel)
			e := reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now, Log: zap.New(core)})
			before := r.Changes()
			rec, err := r.store.Load(r.Record.Key)
			must(t, err)
			must(t, e.ReleaseRecord(t.Context(), rec))
			if got := logs.FilterMessage(message).Len(); got != tc.want || r.Changes() != before {
				t.Errorf("%d reports, want %d: %v; changes %v", got, tc.want, logs.All(), r.ChangeLog()[before:])
			}
		})
	}
	r := ready(t, scenario.OKD())
	core, logs := observer.New(zap.WarnLevel)
	e := reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now, Log: zap.New(core)})
	must(t, e.Delete(t.Context(), r.Record.Key))
	if got := logs.FilterMessage(message).Len(); got != 0 {
		t.Errorf("reported in a DEL before sriov-cni's: %v", logs.All())
	}
}

// reset is what a PF has for a VF without settings.
func reset() bond.VFSettings {
	return bond.VFSettings{
		MAC: new(bond.MAC("00:00:00:00:00:00")), VLAN: &bond.VLAN{}, SpoofChk: new(false), Trust: new(false),
		Rate: &bond.VFRate{Max: 1}, LinkState: new(uint32(1)),
	}
}

// TestUnannouncedChanges: what no event reports of VFs is checked without a reconcile.
func TestUnannouncedChanges(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *fixture){
		"settings on a PF": func(t *testing.T, r *fixture) {
			must(t, r.SetVF(r.VFs[0], bond.VFSettings{Trust: new(false)}))
		},
		"sriov-cni's claim": func(_ *testing.T, r *fixture) { r.Detach(&r.record().Members[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			out := r.wantState(bond.StateReady)
			if cause := r.engine.Changed(t.Context(), out.Poll); cause != "" {
				t.Fatalf("without a change: %s", cause)
			}
			change(t, r)
			if cause := r.engine.Changed(t.Context(), out.Poll); cause != reconcile.CauseUnannounced {
				t.Errorf("after the change: %q", cause)
			}
			out, _ = r.converge()
			if cause := r.engine.Changed(t.Context(), out.Poll); cause != "" {
				t.Errorf("after a reconcile: %s", cause)
			}
		})
	}
}
