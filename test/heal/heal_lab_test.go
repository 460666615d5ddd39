//go:build lab

package heal

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

var (
	bin     = flag.String("bin", "../../bin", "directory of the agent and the plugins")
	showLog = flag.Bool("show-log", false, "show the agent's log of every fault")
	noAgent = flag.Bool("no-agent", false, "run without an agent: then nothing may heal")
)

// hostileEnv makes TestHeals run only the hostile rows, at full length (make hostile).
const hostileEnv = "BONDKEEPER_HOSTILE"

// TestHeals runs the table: each fault is a subtest and can be run alone. Attacks, storms and obstacles follow.
func TestHeals(t *testing.T) {
	long := os.Getenv(hostileEnv) != ""
	faults := HostileFaults(long)
	if !long {
		faults = append(Faults(), faults...)
	}
	r, err := New(t.Context(), Config{Bin: *bin, NoAgent: *noAgent, Long: long})
	kit.Must(t, err)
	defer func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	played, excluded := 0, 0
	for _, f := range faults {
		t.Run(f.Name, func(t *testing.T) {
			if reason := r.Excluded(f); reason != "" {
				excluded++
				t.Skip(reason)
			}
			played++
			place := r.log.len()
			res := r.Run(t.Context(), f, func(step string) { t.Log(step) })
			for _, l := range r.log.from(place) {
				if *showLog {
					t.Log(l.Raw)
				}
			}
			if res.Err != nil {
				t.Errorf("%v\n%s", res.Err, r.evidence(t.Context(), place))
				return
			}
			for _, p := range r.Pods() {
				wantNoEthtoolMissing(t, p)
			}
			t.Logf("%s: detected %s, recovered %s, total %s, %d pings lost", res.Outcome, short(res.Detected), short(res.Recovered), short(res.Total), res.Lost)
		})
	}
	if played == 0 && excluded > 0 {
		t.Errorf("no row was played: the cards exclude all %d that are selected", excluded)
	}
}

// wantNoEthtoolMissing: no row sets anything with ethtool(8), so a new VF or bond lacks nothing.
func wantNoEthtoolMissing(t *testing.T, p *Pod) {
	t.Helper()
	record, err := os.ReadFile(recordOf(p))
	kit.Must(t, err)
	if strings.Contains(string(record), `"missingEthtool"`) {
		t.Errorf("pod %s: ethtool settings are recorded as missing: %s", p.Name, record)
	}
}

func recordOf(p *Pod) string { return filepath.Join("/run/bondkeeper", p.id+"@"+BondName+".json") }

// evidence is what helps to analyse a failed row.
func (r *Fixture) evidence(ctx context.Context, place int) string {
	var text strings.Builder
	text.WriteString("agent's log:\n")
	lines := r.log.from(place)
	for _, l := range lines[max(0, len(lines)-40):] {
		text.WriteString("  " + l.Raw + "\n")
	}
	for _, p := range r.Pods() {
		text.WriteString("pod " + p.Name + ", besides the baseline:\n")
		s, err := p.snapshot(ctx)
		if err != nil {
			text.WriteString("  " + err.Error() + "\n")
			continue
		}
		text.WriteString("  " + strings.Join(s.diff(p.baseline), "\n  ") + "\n")
	}
	dmesg, _ := exec.CommandContext(ctx, "dmesg").Output()
	tail := strings.Split(strings.TrimSpace(string(dmesg)), "\n")
	text.WriteString("kernel's log:\n  " + strings.Join(tail[max(0, len(tail)-15):], "\n  "))
	return text.String()
}
