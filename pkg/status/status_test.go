package status_test

import (
	"fmt"
	"testing"
	"testing/synctest"
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

// TestTransitionsAreLimited: a bond whose state changes all the time gets some lines per minute, which count the
// changes. At the end the last state is logged. Another bond gets its own lines.
func TestTransitionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		j := status.NewTransitionLogger(zap.New(core))
		s := sample()
		const changes = 1201 // in a minute
		for i := range changes {
			s.Reason = fmt.Sprint("reason ", i)
			j.Report(s)
			pass(50 * time.Millisecond)
		}
		other := sample()
		other.Key.IfName = "bond1"
		j.Report(other)
		pass(time.Minute)
		j.Report(s)
		j.Report(s)
		all := logs.FilterField(zap.String("bond", s.Key.String())).All()
		if n := len(all); n < 70 || n > 100 {
			t.Errorf("%d lines about %d changes", n, changes)
		}
		counted := 0
		for _, l := range all {
			n, several := l.ContextMap()["changes"].(int64)
			if !several {
				n = 1
			}
			counted += int(n)
		}
		if last := all[len(all)-1].ContextMap()["reason"]; counted != changes || last != s.Reason {
			t.Errorf("%d changes are counted, want %d; the last line has %q", counted, changes, last)
		}
		if n := logs.FilterField(zap.String("bond", other.Key.String())).Len(); n != 1 {
			t.Errorf("%d lines about another bond, want 1", n)
		}
	})
}
