package history

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var update = flag.Bool("update", false, "rewrite the expected lines of testdata/*.txt")

// TestHistoryScenarios runs the scenarios of testdata, which README.md describes.
func TestHistoryScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		var s *scenario
		for line := range strings.Lines(string(text)) {
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, ">") {
				continue
			}
			fmt.Fprintln(&got, line)
			switch {
			case strings.HasPrefix(line, "#"):
				s = newScenario()
			case line != "":
				for _, result := range s.step(t, strings.Fields(line)) {
					fmt.Fprintln(&got, ">", result)
				}
			}
		}
		switch {
		case got.String() == string(text):
		case *update:
			if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s: is\n%s\nwant\n%s", file, got.String(), text)
		}
	}
}

// scenario is a bond with two members and its history.
type scenario struct {
	rec *bond.Record
	obs bond.Observed
	set *Set
	run *Run
	now time.Time
	// words has the scenario's word for each action.
	words map[string]string
}

var scenarioStart = time.Unix(1e9, 0).UTC()

func newScenario() *scenario {
	s := &scenario{
		rec: &bond.Record{
			Phase: bond.PhaseReady, Settled: true,
			Members: []bond.Member{{Name: "net1", VF: &bond.VF{}}, {Name: "net2", VF: &bond.VF{}}},
			Spec:    bond.Spec{Options: bond.Options{bond.OptActiveSlave: "net1"}},
		},
		obs: bond.Observed{SandboxAlive: true, Members: make([]bond.ObservedMember, 2)},
		set: New(Timing{}), words: map[string]string{},
	}
	s.rec.Key.IfName = "bond0"
	s.observe("bond=ok")
	s.observe("net1=ok")
	s.observe("net2=ok")
	return s
}

// step makes one round, in its own reconcile unless the time is "then", and returns the result.
func (s *scenario) step(t *testing.T, words []string) []string {
	t.Helper()
	if words[0] == "then" {
		s.now = s.now.Add(time.Millisecond)
	} else {
		d, err := time.ParseDuration(words[0])
		if err != nil {
			t.Fatal(err)
		}
		s.now, s.run = scenarioStart.Add(d), s.set.Of(s.rec.Key).Begin(s.rec)
	}
	var p plan.Plan
	fails := map[string]error{}
	recorded := false
	for _, w := range words[1:] {
		what, on, _ := strings.Cut(w[1:], "@")
		on, failure, _ := strings.Cut(on, "/")
		switch {
		case w == "restart":
			s.set = New(Timing{})
			s.run = s.set.Of(s.rec.Key).Begin(s.rec)
		case w == "record":
			recorded = true
		case w[0] == '!':
			p.Findings = append(p.Findings, plan.Finding{Member: memberOf(on), Code: plan.Code(what), Text: what})
		case w[0] == '+':
			a := actionOf(t, what, memberOf(on))
			p.Actions = append(p.Actions, a)
			s.words[a.String()] = what + " " + on
			if failure != "" {
				fails[a.String()] = errorOf(t, failure)
			}
		default:
			s.observe(w)
		}
	}
	out := s.round(p, fails)
	if recorded {
		text, err := json.Marshal(s.rec.Repairs)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("record: %s, settled %t, %s", text, s.rec.Settled, s.rec.Spec.Options))
	}
	return out
}

func (s *scenario) round(p plan.Plan, fails map[string]error) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	settled := s.rec.Settled
	for i, hint := range s.run.Observe(&s.obs, s.now) {
		if hint != (plan.Hint{}) {
			add("hint for %s: overdue %t, bounced %t", name(i), hint.Overdue, hint.Bounced)
		}
	}
	for _, c := range s.run.Adopt(&s.obs, p.Actions, s.now) {
		add("adopted: %s %s", c.Setting, c.Adopted)
		p.Actions = nil
	}
	res := s.run.Advance(&s.obs, p, s.now)
	for _, l := range res.Lost {
		add("lost: %s, %s%s", name(l.Member), l.Cause, quiet(l.Quiet))
	}
	for _, r := range res.Recovered {
		absence := ""
		if r.Absent > 0 {
			absence = fmt.Sprintf(" (absent %s)", r.Absent)
		}
		add("recovered: %s, %s, took %s%s%s, repair %d", name(r.Member), r.Cause, r.Took, absence, quiet(r.Quiet), s.rec.Repairs.Count)
	}
	if res.Changed != (len(res.Lost)+len(res.Recovered) > 0 || settled != s.rec.Settled) {
		add("changed: %t", res.Changed)
	}
	if settled != s.rec.Settled {
		add("settled: %t", s.rec.Settled)
	}
	for _, f := range res.Ineffective {
		add("no effect: %s, %d times, waits %s%s", s.words[f.Action.String()], f.Times, f.Wait, quiet(f.Quiet))
	}
	for _, l := range res.Limited {
		add("limited: %s, %d repairs", l.What, l.Repairs)
	}
	for _, what := range res.Unlimited {
		add("no longer limited: %s", what)
	}
	if res.LimitsChanged {
		add("recorded limits: %q", s.rec.Fights)
	}
	h := s.set.Of(s.rec.Key)
	for i := plan.OnBond; i < len(s.rec.Members); i++ {
		if text := h.LastError(p.Actions, i); text != "" {
			add("reason for %s: %s", name(i), text)
		}
	}
	if len(p.Actions) > 0 && h.AllBlocked(p.Actions) {
		add("all blocked")
	}
	if res.RetryAfter != 0 {
		add("retry after %s", res.RetryAfter)
	}
	for _, a := range res.Ready {
		err := fails[a.String()]
		if err == nil {
			add("%s%s", s.words[a.String()], quiet(s.run.Applied(a, s.now)))
			continue
		}
		f := s.run.Failed(a, err, s.now)
		add("%s: %v, overtaken %t, waits %s%s", s.words[a.String()], err, f.Overtaken, f.Wait, quiet(f.Quiet))
	}
	return out
}

func quiet(q bool) string {
	if q {
		return " (quiet)"
	}
	return ""
}

func name(member int) string {
	return map[int]string{plan.OnBond: "bond0", 0: "net1", 1: "net2"}[member]
}

func memberOf(name string) int {
	return map[string]int{"bond0": plan.OnBond, "net1": 0, "net2": 1}[name]
}

// observe changes what is observed from now on.
func (s *scenario) observe(word string) {
	what, state, _ := strings.Cut(word, "=")
	switch {
	case what == "phase":
		s.rec.Phase = bond.Phase(state)
		return
	case what == "restoring":
		s.rec.Restoring = state == "true"
		return
	case what == "sandbox":
		s.obs.SandboxAlive = state == "alive"
		return
	case what == "bond" && state == "gone":
		s.obs.Bond = nil
		return
	case what == "bond":
		s.obs.Bond = &bond.ObservedBond{Link: bond.Link{Index: 9, Up: true, Carrier: state == "ok", MTU: 1400}}
		return
	}
	link := bond.Link{Up: true, Carrier: true, Master: 9}
	m := bond.ObservedMember{Location: bond.InPod, Link: link, PF: &bond.ObservedPF{Carrier: true}}
	switch state {
	case "silent":
		m.Link.Carrier = false
	case "cable": // unplugged
		m.Link.Carrier, m.PF.Carrier = false, false
	case "down":
		m.Link.Carrier, m.Link.Up = false, false
	case "released":
		m.Link.Master = 0
	case "releasedSilent":
		m.Link.Carrier, m.Link.Master = false, 0
	case "unidentified":
		m = bond.ObservedMember{Location: bond.Lost}
		s.rec.Members[memberOf(what)].Unidentified = true
	case "host":
		m.Location, m.Link = bond.InHost, bond.Link{}
	case "virtual":
		m.Location, m.Link, m.PF = bond.InHost, bond.Link{}, nil
		s.rec.Members[memberOf(what)].VF = nil
	case "unlisted":
		m.Location, m.Link, m.PF = bond.InHost, bond.Link{}, nil
	case "lost":
		m = bond.ObservedMember{Location: bond.Lost}
	}
	s.obs.Members[memberOf(what)] = m
}

func actionOf(t *testing.T, what string, member int) plan.Action {
	t.Helper()
	on := plan.MemberIndex(member)
	link := plan.LinkRef{Location: bond.InPod, Name: name(member), Index: member + 10, PCI: "0000:3b:02.0"}
	switch what {
	case "create":
		return plan.CreateBond{MemberIndex: on, Name: "bond0"}
	case "move":
		return plan.MoveToPod{MemberIndex: on, Link: link, Name: link.Name}
	case "restore":
		return plan.RestoreVF{MemberIndex: on}
	case "enslave":
		return plan.Enslave{MemberIndex: on, Link: link, Bond: link}
	case "up":
		return plan.SetUp{MemberIndex: on, Link: link}
	case "bounce":
		return plan.Bounce{MemberIndex: on, Link: link}
	case "mtu", "otherMTU":
		return plan.SetMTU{MemberIndex: on, Link: link, MTU: map[string]int{"mtu": 1500, "otherMTU": 1600}[what]}
	case "address1", "address2", "address3":
		prefix := netip.MustParsePrefix("10.0.0." + strings.TrimPrefix(what, "address") + "/24")
		return plan.AddAddress{MemberIndex: on, Bond: link, Prefix: prefix}
	case "announce":
		return plan.Announce{MemberIndex: on, Bond: link}
	}
	t.Fatalf("no action %q", what)
	return nil
}

func errorOf(t *testing.T, what string) error {
	t.Helper()
	err := map[string]error{
		"busy": bond.ErrBusy, "inUse": bond.ErrInUse, "stale": bond.ErrStale, "gone": bond.ErrGone,
		"rejected": errors.New("rejected"),
	}[what]
	if err == nil {
		t.Fatalf("no error %q", what)
	}
	return err
}
