package status_test

import (
	"testing"

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
