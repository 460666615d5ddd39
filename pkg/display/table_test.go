package display_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/display"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func sample() bond.Status {
	return bond.Status{
		Key: bond.Key{ContainerID: "c0ffee", IfName: "bond0"}, Pod: bond.Pod{Namespace: "demo", Name: "bondpod1"}, Network: "okd",
		State: bond.StateReady, Mode: "active-backup", MAC: "02:00:00:00:00:01", MTU: 1500, Active: "net1",
		Members: []bond.MemberStatus{
			{Name: "net1", PCI: "0000:01:10.0", PF: "0000:01:00.0", VF: 3, State: bond.MemberActive},
			{Name: "net2", PCI: "0000:02:10.0", State: bond.MemberBackup},
		},
	}
}

// degraded is a bond of a pod with a hostile name, whose net1 is lost.
func degraded() bond.Status {
	s := sample()
	s.Pod.Name = "evil\x1b[2J"
	s.State, s.Reason, s.Active, s.Since = bond.StateDegraded, "net1 (0000:01:10.0) is in neither the pod nor the host", "net2", now.Add(-90*time.Second)
	s.Members[0].State, s.Members[0].Since = bond.MemberLost, s.Since
	s.Repairs, s.Last = 3, &bond.Repair{Member: "net2", Cause: "MemberInHost", At: now.Add(-time.Minute), Took: 412}
	s.Warnings = []string{"both members are on one PF"}
	return s
}

func table(t *testing.T, s display.Style) string {
	t.Helper()
	s.Now = now
	var b strings.Builder
	if err := display.Table(&b, []bond.Status{sample(), degraded()}, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTable(t *testing.T) {
	const want = `POD                 BOND    STATE     FOR    MODE           ACTIVE                REPAIRS  LAST REPAIR
demo/bondpod1       bond0   Ready     -      active-backup  net1                  0        -
                      net1  active           0000:01:10.0   VF 3 of 0000:01:00.0
                      net2  backup           0000:02:10.0
"demo/evil\x1b[2J"  bond0   Degraded  1m30s  active-backup  net2                  3        net2 MemberInHost, took 412ms, 1m0s ago
                      net1  lost      1m30s  0000:01:10.0   VF 3 of 0000:01:00.0
                      net2  backup           0000:02:10.0

"demo/evil\x1b[2J" bond0: net1 (0000:01:10.0) is in neither the pod nor the host

"demo/evil\x1b[2J" bond0: warning: both members are on one PF
`
	if got := table(t, display.Style{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWideTable(t *testing.T) {
	got := table(t, display.Style{Wide: true})
	for _, row := range []string{"  NETWORK  MAC                MTU\n", "  okd      02:00:00:00:00:01  1500\n"} {
		if !strings.Contains(got, row) {
			t.Errorf("no %q in\n%s", row, got)
		}
	}
}

// TestColors: colors change neither the text nor the columns, and depend on the state.
func TestColors(t *testing.T) {
	const red, green, yellow, plain = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[39m"
	got := table(t, display.Style{Color: true})
	for _, cell := range []string{green + "Ready" + plain, green + "active" + plain, yellow + "Degraded" + plain, red + "lost" + plain} {
		if !strings.Contains(got, cell) {
			t.Errorf("no %q in\n%s", cell, got)
		}
	}
	if text := strings.NewReplacer(red, "", green, "", yellow, "", plain, "").Replace(got); text != table(t, display.Style{}) {
		t.Errorf("without the colors:\n%s", text)
	}
}
