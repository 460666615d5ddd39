//go:build lab

package main

import (
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// TestOptionDrift changes every option of a bond by hand, in every mode. Options that can be changed live are changed
// all at once, and in active-backup one by one; they are restored. Options that can be changed only on a bond that is
// down are reported and left alone.
func TestOptionDrift(t *testing.T) {
	shared := newPod(t)
	shared.attachVFs()
	before := shared.links()
	putBack, reported := 0, 0
	for mode := bond.ModeRoundRobin; mode <= bond.ModeALB; mode++ {
		for _, by := range monitors(mode) {
			t.Run(mode.String()+", "+string(by), func(t *testing.T) {
				p := shared.in(t)
				want := bundle(mode, by, unlike)
				d := p.direct("1.1.0", fieldsOf(want))
				d.add()
				live, down := bond.Options{}, bond.Options{}
				for _, o := range want.Names() {
					def := bond.LookupOption(o)
					value := otherwise(def, ipKnows)
					switch {
					case others[o].ip == "" || def.Changeable&bond.NoMembers != 0 || value == want[o]:
					case def.Changeable == bond.Live:
						live[o] = value
					default:
						down[o] = value
					}
				}
				d.live(live, want)
				if mode == bond.ModeActiveBackup {
					for o, v := range live {
						d.live(bond.Options{o: v}, want)
					}
				}
				d.down(down, want)
				putBack, reported = putBack+len(live), reported+len(down)
				d.must("DEL")
				p.likeBefore(before)
			})
		}
	}
	t.Logf("%d options changed live and put back, %d changed with the bond down and reported", putBack, reported)
}

// ipKnows reports whether the guest's ip(8) knows a value of an option. It is older than the newest kernel.
func ipKnows(v string) bool { return v != "actor_port_prio" }

// hand sets options by hand, with ip.
func (d *direct) hand(o bond.Options) {
	d.t.Helper()
	args := []string{"-n", d.name, "link", "set", "bond0", "type", "bond"}
	for _, name := range o.Names() {
		args = append(args, others[name].ip, ipWord(bond.LookupOption(name), o[name]))
	}
	d.ip(args...)
}

// wantOptions compares options with the output of other tools.
func (p *pod) wantOptions(when string, want bond.Options) {
	p.t.Helper()
	reported := p.reported("bond0")
	for _, o := range want.Names() {
		for tool, options := range map[string]bond.Options{"ip": reported.ip, "sysfs": reported.sysfs, "the kernel": reported.raw} {
			if got, has := options[o]; has && got != want[o] {
				p.t.Errorf("%s %s says %s is %q, want %q", when, tool, o, got, want[o])
			}
		}
	}
}

// live changes options of a bond that is up; the agent's next reconcile restores them, with everything that the kernel
// changed as a consequence.
func (d *direct) live(drift, want bond.Options) {
	d.t.Helper()
	d.hand(drift)
	reported := d.reported("bond0")
	for o, v := range drift {
		// Delays are kept in units of miimon.
		if reported.sysfs[o] == want[o] || reported.ip[o] == want[o] {
			d.t.Errorf("%s was not changed to %s by hand; the test proves nothing", o, v)
		}
	}
	if out := d.converge(); out.Plan.Verdict == plan.Stuck {
		d.t.Errorf("%s: %s", drift, out.Status.Reason)
	}
	d.wantOptions("after "+drift.String()+" was put right", want)
}

// down changes options while the bond is down for a moment.
func (d *direct) down(drift, want bond.Options) {
	d.t.Helper()
	if len(drift) == 0 {
		return
	}
	set := func(o bond.Options) {
		d.t.Helper()
		d.ip("-n", d.name, "link", "set", "bond0", "down")
		d.hand(o)
		d.ip("-n", d.name, "link", "set", "bond0", "up")
	}
	set(drift)
	out := d.converge()
	if out.Plan.Verdict != plan.Stuck || out.Status.State != bond.StateStuck {
		d.t.Errorf("%s: %s, %s: %s", drift, out.Plan.Verdict, out.Status.State, out.Status.Reason)
	}
	for o := range drift {
		if !found(&out, o) {
			d.t.Errorf("nothing is said of %s: %v", o, out.Plan.Findings)
		}
	}
	d.wantOptions("when it was looked at (it must not be forced)", drift)
	back := bond.Options{}
	for o := range drift {
		back[o] = want[o]
	}
	set(back)
	if out := d.converge(); out.Plan.Verdict == plan.Stuck {
		d.t.Errorf("%s after it was put back by hand: %s", drift, out.Status.Reason)
	}
}

func found(out *reconcile.Outcome, o bond.Option) bool {
	for _, f := range out.Plan.Findings {
		if f.Code == plan.OptionDrift && strings.Contains(f.Text, string(o)) {
			return true
		}
	}
	return false
}

// TestFailOverMacDrift: an option that needs a bond without members is reported and left alone.
func TestFailOverMacDrift(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	d := p.direct("1.1.0", map[string]any{"mode": 1, "failOverMac": 1})
	d.add()
	enslave := func(args ...string) {
		for _, name := range []string{"net1", "net2"} {
			p.ip("-n", p.name, "link", "set", name, "down")
			p.ip(append([]string{"-n", p.name, "link", "set", name}, args...)...)
		}
	}
	enslave("nomaster")
	d.hand(bond.Options{bond.OptFailOverMac: "none"})
	enslave("master", "bond0")
	out := d.converge()
	if out.Plan.Verdict != plan.Stuck || !found(&out, bond.OptFailOverMac) {
		t.Errorf("%s: %s", out.Plan.Verdict, out.Status.Reason)
	}
	d.wantOptions("when it was looked at", bond.Options{bond.OptFailOverMac: "none"})
	d.must("DEL")
	p.likeBefore(before)
}
