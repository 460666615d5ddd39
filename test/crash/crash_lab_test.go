//go:build lab

package crash

import (
	"os"
	"strconv"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// strideEnv sets how many kill points are skipped after each one that is tried; make faults tries all.
const (
	strideEnv     = "BONDKEEPER_KILL_STRIDE"
	defaultStride = 6
)

// crashCase is something that is killed, and the ways in which it is completed afterwards.
type crashCase struct {
	name    string
	prepare func(*pod)
	// run runs it and kills it before a change.
	run func(p *pod, f Fault) Report
	// endings are used in turn; once all were called, nothing may be left.
	endings []func(*pod)
	// finish completes what was not killed.
	finish func(*pod)
}

var crashCases = []crashCase{
	{
		name:    "ADD",
		prepare: func(*pod) {},
		run:     func(p *pod, f Fault) Report { return p.killed(p.add(f)) },
		endings: []func(*pod){del, func(p *pod) { del(p); add(p); del(p) }},
		finish:  del,
	},
	{
		name:    "DEL",
		prepare: add,
		run:     func(p *pod, f Fault) Report { return p.killed(p.del(f)) },
		endings: []func(*pod){del, func(p *pod) { release(p); del(p) }, func(p *pod) { del(p); add(p); del(p) }},
		finish:  func(*pod) {},
	},
	{
		name:    "agent repairs a lost bond and a lost VF",
		prepare: func(p *pod) { add(p); setUp(p); loseAll(p) },
		run:     func(p *pod, f Fault) Report { return runAgent(p, f, ready...) },
		endings: []func(*pod){func(p *pod) { repair(p); del(p) }, del},
		finish:  del,
	},
	{
		name:    "agent releases",
		prepare: func(p *pod) { add(p); tombstone(p) },
		run:     func(p *pod, f Fault) Report { return runAgent(p, f, released...) },
		endings: []func(*pod){release, del},
		finish:  func(*pod) {},
	},
}

var (
	ready    = []string{`"msg":"bond state changed"`, `"state":"Ready"`}
	released = []string{"finished a release that the plugin started"}
)

// none is no fault and no report; observed is the same, with the changes counted.
var (
	none     Fault
	observed = Fault{How: Fail}
)

func add(p *pod)    { p.t.Helper(); p.killed(p.add(none)) }
func del(p *pod)    { p.t.Helper(); p.killed(p.del(none)) }
func setUp(p *pod)  { p.t.Helper(); p.agent(none, "pod set-up complete") }
func repair(p *pod) { p.t.Helper(); p.agent(none, ready...) }

func runAgent(p *pod, f Fault, words ...string) Report {
	p.t.Helper()
	r, _ := p.agent(f, words...)
	return r
}

// release lets the agent finish a release, if one was started.
func release(p *pod) {
	p.t.Helper()
	if p.deleted() {
		p.agent(none, released...)
	}
}

// tombstone is a DEL that was killed after it had written the tombstone.
func tombstone(p *pod) {
	p.t.Helper()
	for kill := 1; ; kill++ {
		r := p.killed(p.del(Fault{How: Kill, At: kill}))
		if r.Hit == 0 {
			p.t.Fatalf("DEL of %d changes writes no record", len(r.Points))
		}
		if p.deleted() {
			return
		}
	}
}

// loseAll deletes the bond and rebinds one VF's driver, which leaves the VF in the host.
func loseAll(p *pod) {
	p.t.Helper()
	p.ip("-n", netnsName, "link", "del", bondName)
	vf := bond.PCIAddress(p.vfs[0])
	kit.Must(p.t, kit.Links{}.UnbindVF(vf))
	kit.Must(p.t, kit.Links{}.BindVF(vf))
	if _, err := topology.Netdev(p.vfs[0]); err != nil {
		p.t.Fatal(err)
	}
}

// TestKilledAnywhere kills each case before its n-th change, for every n in make faults.
func TestKilledAnywhere(t *testing.T) {
	stride := strideOf(t, strideEnv, defaultStride)
	for _, s := range crashCases {
		t.Run(s.name, func(t *testing.T) {
			p := newPod(t)
			points, leaks := 0, 0
			for n := 1; ; n += stride {
				s.prepare(p)
				r := s.run(p, Fault{How: Kill, At: n})
				if r.Hit == 0 {
					s.finish(p)
					t.Logf("%d kill points, %d leaks; a run that is not killed makes %d changes", points, leaks, len(r.Points))
					break
				}
				points++
				t.Logf("change %d: killed before: %s", n, r.hit())
				for _, leak := range finishAll(p, &s, n) {
					leaks++
					t.Errorf("killed before change %d (%s): %s", n, r.hit(), leak)
				}
				if t.Failed() {
					break // what is left would break all others
				}
			}
			if points < 3 {
				t.Errorf("only %d kill points", points)
			}
		})
	}
}

// strideOf is how many cases are skipped after each one that is tried.
func strideOf(t *testing.T, env string, def int) int {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: want a number above 0", env, text)
	}
	return n
}

// finishAll completes what was killed, each time in another way, and returns what is left then.
func finishAll(p *pod, s *crashCase, n int) []string {
	p.t.Helper()
	s.endings[n%len(s.endings)](p)
	return p.leaks()
}
