//go:build lab

package crash

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// trials are the errors to try at each point of a kind. every: try all of them at each; otherwise each point gets the
// next one.
type trials struct {
	every  bool
	faults []Fault
}

func each(how How, errnos ...unix.Errno) (faults []Fault) {
	for _, e := range errnos {
		faults = append(faults, Fault{How: how, Errno: uint32(e)})
	}
	return faults
}

// all are the errors that the kernel returns for changes of links, addresses and routes.
var all = []unix.Errno{unix.EBUSY, unix.ENODEV, unix.EPERM, unix.EAGAIN, unix.ENOBUFS, unix.EINTR, unix.ENOMEM, unix.EOPNOTSUPP, unix.EINVAL}

// trialsOf are the ways in which each kind of system call can fail. A lost response differs from a rejected change: the
// change was made.
var trialsOf = map[Kind]trials{
	Change:  {true, slices.Concat(each(Reject, all...), each(Lose, unix.EBUSY, unix.EINVAL), each(Fail, unix.ENOBUFS))},
	Setting: {true, each(Fail, all...)},
	Query:   {false, each(Reject, unix.ENOBUFS, unix.EINTR, unix.ENOMEM, unix.EPERM)},
	Dump:    {true, slices.Concat(each(Interrupt, 0), each(Reject, unix.ENOMEM, unix.EINTR))},
	Enter:   {false, each(Fail, unix.EPERM, unix.ENOMEM, unix.EINVAL)},
	Socket:  {false, each(Fail, unix.ENOBUFS, unix.ENOMEM, unix.EPERM)},
	Mount:   {false, each(Fail, unix.EPERM, unix.ENOMEM, unix.EBUSY)},
	Packet:  {false, each(Fail, unix.ENOBUFS, unix.ENODEV, unix.EPERM)},
	File:    {false, each(Fail, unix.ENOSPC, unix.EIO)},
	Execute: {false, each(Fail, unix.ENOMEM, unix.EAGAIN)},
}

// faultsOf are the faults to try on a program that passes these points.
func faultsOf(points []Point) (faults []Fault) {
	for i, point := range points {
		t := trialsOf[point.Kind]
		for j, f := range t.faults {
			if f.At, f.Kind = i+1, point.Kind; t.every || j == i%len(t.faults) {
				faults = append(faults, f)
			}
		}
	}
	return faults
}

func (f Fault) String() string {
	if f.Errno == 0 {
		return string(f.How)
	}
	return fmt.Sprintf("%s with %s", f.How, unix.ErrnoName(unix.Errno(f.Errno)))
}

// failing is something of which one system call fails, and how it is completed afterwards.
type failing struct {
	name    string
	prepare func(*pod)
	// run runs the program with the fault. want is the expected result of check; empty if there is none. done: it
	// reported success, so nothing else may be needed.
	run func(p *pod, f Fault, want string) (r Report, done bool)
	// retry is what kubelet or the agent does after a failure, until it must succeed.
	retry []func(*pod)
	// check compares the result with that of a run without a fault.
	check func(*pod) string
	// end ends the scene.
	end []func(*pod)
}

var failings = []failing{
	{
		name:    "ADD",
		prepare: func(*pod) {},
		run:     func(p *pod, f Fault, _ string) (Report, bool) { r, err := p.add(f); return r, err == nil },
		retry:   []func(*pod){func(p *pod) { del(p); add(p) }, func(p *pod) { release(p); del(p); add(p) }},
		check:   (*pod).configured,
		end:     []func(*pod){del, del, del, del, func(p *pod) { repair(p); del(p) }, del},
	},
	{
		name:    "DEL",
		prepare: add,
		run:     func(p *pod, f Fault, _ string) (Report, bool) { r, err := p.del(f); return r, err == nil },
		retry:   []func(*pod){del, func(p *pod) { release(p); del(p) }},
		check:   func(*pod) string { return "" },
		end:     []func(*pod){goOn, del},
	},
	{
		name:    "agent repairs a lost bond and a lost VF",
		prepare: loseAgain,
		run:     repairAs,
		retry:   []func(*pod){repair},
		check:   (*pod).configured,
		end:     []func(*pod){del, goOn, goOn, goOn, goOn}, // what was repaired is lost again
	},
	{
		name:    "agent releases",
		prepare: func(p *pod) { add(p); tombstone(p) },
		run:     func(p *pod, f Fault, _ string) (Report, bool) { r, ended := p.agent(f, released...); return r, !ended },
		retry:   []func(*pod){release, del},
		check:   func(*pod) string { return "" },
		end:     []func(*pod){goOn, del},
	},
}

// goOn changes nothing.
func goOn(*pod) {}

// loseAgain deletes the bond, which is made first if there is none.
func loseAgain(p *pod) {
	p.t.Helper()
	if len(p.records()) == 0 {
		add(p)
		setUp(p)
	}
	loseAll(p)
}

// repairAs runs the agent until the bond is configured as expected.
func repairAs(p *pod, f Fault, want string) (Report, bool) {
	p.t.Helper()
	r, ended := p.agentUntil(f, func() string {
		if now := p.configured(); want != "" && now != want {
			return "the bond is\n" + now + "and not\n" + want
		}
		return ""
	}, ready...)
	return r, !ended
}

// configured is the configuration of the bond and its members.
func (p *pod) configured() string {
	p.t.Helper()
	return p.state().links + "\n" + p.bondDetails()
}

// active matches what depends on the active member.
var active = regexp.MustCompile(`(Name:` + bondName + ` MAC|active_slave):\S+`)

func anyActive(configured string) string { return active.ReplaceAllString(configured, "$1:any") }

// bondDetails are the bond's options, addresses and routes, without the kernel's own.
func (p *pod) bondDetails() string {
	p.t.Helper()
	var links []struct {
		Link struct {
			Data map[string]any `json:"info_data"`
		} `json:"linkinfo"`
		Addresses []struct {
			Local  string
			Length int `json:"prefixlen"`
			Scope  string
		} `json:"addr_info"`
	}
	kit.Must(p.t, json.Unmarshal(p.ip("-n", netnsName, "-j", "-d", "addr", "show", "dev", bondName), &links))
	out := fmt.Sprintln(links[0].Link.Data)
	for _, a := range links[0].Addresses {
		if a.Scope != "link" {
			out += fmt.Sprintln(a)
		}
	}
	for route := range strings.Lines(string(p.ip("-n", netnsName, "route", "show", "dev", bondName))) {
		if !strings.Contains(route, "proto kernel") {
			out += route
		}
	}
	return out
}

// failStrideEnv sets how many cases are skipped after each one that is tried; make faults tries all.
const failStrideEnv = "BONDKEEPER_FAIL_STRIDE"

// TestEveryErrno makes each system call fail, with each error, with which the programs change or read the kernel's
// state. The same program, a retry or the agent must complete the work, and after the bond's end nothing may be left.
func TestEveryErrno(t *testing.T) {
	stride := strideOf(t, failStrideEnv, 200)
	p := newPod(t)
	for i := range failings {
		s := &failings[i]
		ok := t.Run(s.name, func(t *testing.T) {
			outer := p.t
			p.t = t
			defer func() { p.t = outer }()
			tryAll(p, s, stride)
		})
		if !ok {
			break // what is left would break all others
		}
	}
}

// tryAll tries every stride-th fault of a scene.
func tryAll(p *pod, s *failing, stride int) {
	p.t.Helper()
	s.prepare(p)
	r, done := s.run(p, observed, "")
	if !done {
		p.t.Fatal("failed without a fault")
	}
	c := &counts{want: s.check(p), errnos: map[string]int{}}
	s.end[0](p)
	faults := faultsOf(r.Points)
	for n := min(stride, len(faults)) / 2; n < len(faults) && !p.t.Failed(); n += stride {
		c.try(p, s, faults[n])
	}
	p.t.Logf("%d points, %d of %d faults tried: %d met, of which %d made the program fail, and %d left the choice of the active member to the agent; by error: %v; %d leaks",
		len(r.Points), c.tried, len(faults), c.met, c.failed, c.settled, c.errnos, c.leaks)
	if c.met == 0 {
		p.t.Error("no fault was met")
	}
	if len(p.records()) == 0 || p.t.Failed() {
		return
	}
	del(p)
	for _, leak := range p.leaks() {
		p.t.Errorf("at the end: %s", leak)
	}
}

// counts are the numbers for one scene of TestEveryErrno.
type counts struct {
	want                      string // the result of a run without a fault
	tried, met, failed, leaks int
	settled                   int // after which the agent had to choose the active member
	errnos                    map[string]int
}

// try runs one fault.
func (c *counts) try(p *pod, s *failing, f Fault) {
	p.t.Helper()
	s.prepare(p)
	r, done := s.run(p, f, c.want)
	if r.Hit == 0 && !done {
		p.t.Fatalf("failed without the fault: %s at point %d (%s)", f, f.At, f.Kind)
	}
	what := "not met"
	if r.Hit > 0 {
		c.met++
		what = r.hit().String()
		c.errnos[f.String()]++
	}
	p.t.Logf("%s at point %d of %d (%s): success %t", f, f.At, len(r.Points), what, done)
	if !done {
		c.failed++
		s.retry[c.failed%len(s.retry)](p)
	}
	got := s.check(p)
	if got != c.want && anyActive(got) == anyActive(c.want) { // a member joined late, and does not carry traffic yet when ADD returns
		c.settled++
		repairAs(p, none, c.want)
		got = s.check(p)
	}
	if got != c.want {
		p.t.Errorf("%s at point %d (%s): the bond is\n%s\nwant\n%s", f, f.At, what, got, c.want)
	}
	c.tried++
	s.end[c.tried%len(s.end)](p)
	if p.t.Failed() || len(p.records()) > 0 {
		return
	}
	for _, leak := range p.leaks() {
		c.leaks++
		p.t.Errorf("%s at point %d (%s): %s", f, f.At, what, leak)
	}
}
