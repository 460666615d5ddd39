package lab

import (
	"errors"
	"io"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestFault covers every way in which a machine ends.
func TestFault(t *testing.T) {
	for name, c := range map[string]struct {
		end     string
		stopped bool
		fault   bool
	}{
		"assertion failed": {"kill -ABRT $$", false, true},
		"killed":           {"kill -KILL $$", false, true},
		"killed by Stop":   {"kill -KILL $$", true, false},
		"kernel panic":     {"exit 0", false, false},
		"QEMU rejects":     {"exit 1", false, false},
		"timers stopped":   {"echo '[ 9.1] rcu: INFO: rcu_sched self-detected stall on CPU'; exit 0", true, true},
		"expedited grace":  {"printf 'rcu: INFO: rcu_preempt detected expedited '; echo 'stalls on CPUs/tasks: { }'", false, true},
		"starved":          {"echo 'rcu: rcu_preempt kthread starved for 5250 jiffies!'", false, true},
		"soft lockup":      {"echo 'watchdog: BUG: soft lockup - CPU#0 stuck for 22s!'", false, true},
		"no stall":         {"echo 'rcu: Hierarchical RCU implementation.'; echo stalls", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := startMachine("sh", []string{"-c", c.end}, io.Discard)
			kit.Must(t, err)
			g := &Guest{machine: m}
			g.stopping.Store(c.stopped)
			<-g.Done()
			if fault := g.Fault(); (fault != nil) != c.fault || c.fault && !errors.Is(fault, ErrMachineFailed) {
				t.Errorf("fault %v", fault)
			}
		})
	}
}
