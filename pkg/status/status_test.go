package status_test

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
)

func sample() bond.Status {
	return bond.Status{
		Key: bond.Key{ContainerID: "c0ffee", IfName: "bond0"}, Pod: bond.Pod{Namespace: "demo", Name: "bondpod1"},
		State: bond.StateReady, Mode: "active-backup", MAC: "02:00:00:00:00:01", MTU: 1500, Active: "net1",
		Members: []bond.MemberStatus{
			{Name: "net1", PCI: "0000:01:10.0", State: "active"},
			{Name: "net2", PCI: "0000:02:10.0", State: "backup"},
		},
	}
}

// TestTransitionLogger: a line is written only after a change, on a level that depends on the state.
func TestTransitionLogger(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	j := status.NewTransitionLogger(zap.New(core))
	s := sample()
	report := func(state bond.State, reason, active string) {
		s.State, s.Reason, s.Active = state, reason, active
		j.Report(s)
	}
	report(bond.StateReady, "", "net1")
	report(bond.StateReady, "", "net1")
	report(bond.StateDegraded, "net1 is lost", "net2")
	report(bond.StateDegraded, "net1 is lost", "net2")
	report(bond.StateDown, "net2 is lost, too", "")
	report(bond.StateReady, "", "net2")
	report(bond.StateReady, "", "net1")
	if n := j.BondsByState()[bond.StateReady]; n != 1 {
		t.Errorf("%d bonds ready, want 1", n)
	}
	j.Forget(s.Key)
	j.Forget(s.Key)
	want := []zapcore.Level{zap.InfoLevel, zap.WarnLevel, zap.ErrorLevel, zap.InfoLevel, zap.InfoLevel, zap.InfoLevel}
	all := logs.All()
	if len(all) != len(want) {
		t.Fatalf("%d lines, want %d: %v", len(all), len(want), all)
	}
	for i, e := range all {
		if e.Level != want[i] {
			t.Errorf("line %d (%s %v) has level %s, want %s", i, e.Message, e.ContextMap(), e.Level, want[i])
		}
	}
	if m := all[1].ContextMap(); m["was"] != "Ready" || m["state"] != "Degraded" || m["reason"] != "net1 is lost" || m["pod"] != "demo/bondpod1" {
		t.Errorf("line of the loss: %v", m)
	}
}

func TestTable(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := sample()
	bad := sample()
	bad.Pod.Name = "evil\x1b[2J"
	bad.State, bad.Reason, bad.Active = bond.StateDegraded, "net1 (0000:01:10.0) is in neither the pod nor the host", "net2"
	bad.Members[0].State, bad.Members[0].Since = "lost", now.Add(-90*time.Second)
	bad.Repairs, bad.Last = 3, &bond.Repair{Member: "net2", Cause: "MemberInHost", At: now.Add(-time.Minute), Took: 412}
	var b strings.Builder
	if err := status.WriteTable(&b, []bond.Status{s, bad}, now); err != nil {
		t.Fatal(err)
	}
	const want = `POD                    BOND    STATE         MODE           MAC                MTU   ACTIVE  REPAIRS  LAST REPAIR
demo/bondpod1          bond0   Ready         active-backup  02:00:00:00:00:01  1500  net1    0        -
                         net1  active        0000:01:10.0                                           
                         net2  backup        0000:02:10.0                                           
"demo/evil\x1b[2J"     bond0   Degraded      active-backup  02:00:00:00:00:01  1500  net2    3        net2 MemberInHost, took 412ms, 1m0s ago
`
	got := b.String()
	if strings.Contains(got, "\x1b") {
		t.Error("control characters in a pod's name reach the terminal")
	}
	for _, line := range strings.Split(want, "\n") {
		if fields := strings.Fields(line); !hasLine(got, fields) {
			t.Errorf("no line with %q in\n%s", fields, got)
		}
	}
	for _, part := range []string{"since 1m30s", `"demo/evil\x1b[2J" bond0: net1 (0000:01:10.0) is in neither`} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
}

// hasLine reports whether a line has exactly these words. The widths of columns may change.
func hasLine(text string, fields []string) bool {
	for _, line := range strings.Split(text, "\n") {
		if strings.Join(strings.Fields(line), " ") == strings.Join(fields, " ") {
			return true
		}
	}
	return false
}
