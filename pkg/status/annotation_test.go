package status

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
	corev1 "k8s.io/api/core/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// schema is the published schema of the annotation.
func schema(t testing.TB) *jsonschema.Resolved {
	t.Helper()
	data, err := os.ReadFile("../../docs/status.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s := new(jsonschema.Schema)
	if err = json.Unmarshal(data, s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

// check checks what holds for every annotation: size, format, characters.
func check(t testing.TB, s *jsonschema.Resolved, text string) []v1.Bond {
	t.Helper()
	if len(text) > v1.MaxSize {
		t.Fatalf("%d bytes, want %d at most", len(text), v1.MaxSize)
	}
	if !utf8.ValidString(text) {
		t.Fatal("not UTF-8")
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != utf8.RuneError }); i >= 0 {
		t.Fatalf("a character that does not print at %d: %q", i, text[i:min(len(text), i+10)])
	}
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(value); err != nil {
		t.Fatalf("does not match the schema: %v\n%s", err, text)
	}
	var list []v1.Bond
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func full(ifName string) bond.Status {
	return bond.Status{
		Key: bond.Key{ContainerID: "c1", IfName: ifName}, Network: "demo/bond-net", State: bond.StateDegraded,
		Reason: "net1 (0000:01:10.0) is in neither the pod nor the host", Mode: "active-backup", MAC: "02:00:00:00:00:01", MTU: 1500, Active: "net2",
		Members: []bond.MemberStatus{
			{Name: "net1", PCI: "0000:01:10.0", PF: "0000:01:00.0", VF: 0, State: "lost", Reason: "gone", Since: time.Date(2026, 1, 2, 3, 4, 5, 6789012, time.UTC)},
			{Name: "net2", PCI: "0000:02:10.1", PF: "0000:02:00.0", VF: 1, State: "active"},
		},
		Warnings: []string{"both members are on one PF"}, Repairs: 3,
		Last: &bond.Repair{Member: "net2", Cause: "MemberInHost", At: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC), Took: 412},
	}
}

func TestAnnotation(t *testing.T) {
	const want = `[{"version":"v1","interface":"bond0","network":"demo/bond-net","state":"Degraded",` +
		`"reason":"net1 (0000:01:10.0) is in neither the pod nor the host","mode":"active-backup","mac":"02:00:00:00:00:01","mtu":1500,"active":"net2",` +
		`"members":[{"name":"net1","pci":"0000:01:10.0","pf":"0000:01:00.0","vf":0,"state":"lost","reason":"gone","since":"2026-01-02T03:04:05.006Z"},` +
		`{"name":"net2","pci":"0000:02:10.1","pf":"0000:02:00.0","vf":1,"state":"active"}],` +
		`"warnings":["both members are on one PF"],"repairs":3,` +
		`"lastRepair":{"member":"net2","cause":"MemberInHost","at":"2026-01-02T03:00:00Z","tookMs":412}}]`
	got := annotation([]bond.Status{full("bond0")})
	check(t, schema(t), got)
	if got != want {
		t.Errorf("annotation\n%s\nwant\n%s", got, want)
	}
	least := annotation([]bond.Status{{Key: bond.Key{IfName: "bond0"}, State: bond.StateReady}})
	check(t, schema(t), least)
	if want := `[{"version":"v1","interface":"bond0","state":"Ready","repairs":0}]`; least != want {
		t.Errorf("annotation %s, want %s", least, want)
	}
}

// TestAnnotationIsBounded: what does not fit is omitted step by step, and counted.
func TestAnnotationIsBounded(t *testing.T) {
	s := schema(t)
	many := func(n int, change func(int, *bond.Status)) []bond.Status {
		list := make([]bond.Status, n)
		for i := range list {
			list[i] = full(fmt.Sprintf("bond%03d", i))
			change(i, &list[i])
		}
		return list
	}
	t.Run("long reason", func(t *testing.T) {
		list := check(t, s, annotation(many(1, func(_ int, b *bond.Status) { b.Reason = strings.Repeat("ä", 5000) })))
		if r := list[0].Reason; len(r) > 1024 || len(r) < 1020 || !strings.HasSuffix(r, "ä…") {
			t.Errorf("reason of %d bytes ends in %q", len(r), r[len(r)-8:])
		}
	})
	t.Run("members and warnings", func(t *testing.T) {
		list := check(t, s, annotation(many(1, func(_ int, b *bond.Status) {
			b.Members = make([]bond.MemberStatus, 500)
			b.Warnings = make([]string, 20)
		})))
		if o := list[0].Omitted; len(list[0].Members) != 32 || o != (v1.Omissions{Members: 468, Warnings: 12}) {
			t.Errorf("%d members, omitted %+v", len(list[0].Members), o)
		}
	})
	t.Run("texts go first", func(t *testing.T) {
		list := check(t, s, annotation(many(40, func(_ int, b *bond.Status) { b.Reason = strings.Repeat("x", 5000) })))
		if len(list) != 40 || len(list[0].Members) != 2 || len(list[0].Reason) != 256 {
			t.Errorf("%d bonds, %d members, reason of %d", len(list), len(list[0].Members), len(list[0].Reason))
		}
	})
	t.Run("then members", func(t *testing.T) {
		list := check(t, s, annotation(many(55, func(_ int, b *bond.Status) { b.Reason = strings.Repeat("x", 5000) })))
		if len(list) != 55 || list[0].Members != nil || list[54].Omitted.Members != 2 {
			t.Errorf("%d bonds, %+v", len(list), list[0])
		}
	})
	t.Run("then bonds that are well", func(t *testing.T) {
		list := check(t, s, annotation(many(256, func(i int, b *bond.Status) {
			b.State = bond.StateReady
			if i%10 == 9 {
				b.State = bond.StateDown
			}
		})))
		last, down := list[len(list)-1], 0
		for i, b := range list[:len(list)-1] {
			if b.State == v1.Down {
				down++
			}
			if i > 0 && b.Interface <= list[i-1].Interface {
				t.Errorf("%s after %s", b.Interface, list[i-1].Interface)
			}
		}
		if down != 25 || last.State != v1.Ready || last.Interface != "" || last.Omitted.Bonds+len(list)-1 != 256 || len(list) < 60 {
			t.Errorf("%d down of %d; last %+v", down, len(list), last)
		}
	})
}

func TestSanitize(t *testing.T) {
	for in, want := range map[string]string{
		"net1": "net1", "": "", "a\x1b[2Jb\n": "a\ufffd[2Jb\ufffd", "\u202egnp.exe": "\ufffdgnp.exe", "\xff\xfe": "\ufffd\ufffd",
		"123456789012": "123456789012", "1234567890123": "123456789…", "äöüäöüä": "äöüä…",
	} {
		if got := sanitize(in, 12); got != want {
			t.Errorf("sanitize(%q) = %q, want %q", in, got, want)
		}
	}
	if got := sanitize(strings.Repeat("\xff", 1<<20), 12); got != "\ufffd\ufffd\ufffd…" {
		t.Errorf("got %q", got)
	}
}

// FuzzAnnotation: whatever the names and number of links, the annotation has its format and size, and every bond is in
// it or counted.
func FuzzAnnotation(f *testing.F) {
	f.Add("net1", "reason", uint16(2), uint16(2), uint8(0))
	f.Add(strings.Repeat("\"\\", 200), strings.Repeat("\\\"", 3000), uint16(150), uint16(5), uint8(3))
	f.Add("\xff\x00\u202e", "<&>\u2028", uint16(64), uint16(1), uint8(4))
	s := schema(f)
	states := []bond.State{bond.StateReady, bond.StateDegraded, bond.StateDown, bond.StateRepairing, bond.StateStuck}
	f.Fuzz(func(t *testing.T, name, text string, bonds, members uint16, state uint8) {
		list := make([]bond.Status, bonds%160)
		for i := range list {
			b := &list[i]
			b.Key.IfName, b.Network, b.Reason, b.Mode, b.Active, b.MAC = fmt.Sprint(i, name), name, text, name, name, bond.MAC(name)
			b.State = states[(int(state)+i)%len(states)]
			b.Members = make([]bond.MemberStatus, members%40)
			for j := range b.Members {
				b.Members[j] = bond.MemberStatus{Name: name, Reason: text, State: bond.MemberState(text), PCI: bond.PCIAddress(name), PF: bond.PCIAddress(text)}
			}
			b.Warnings = []string{text, name}
			b.Last = &bond.Repair{Member: name, Cause: text, Took: int64(i)}
		}
		entries := check(t, s, annotation(list))
		n := 0
		for _, b := range entries {
			n += max(1, b.Omitted.Bonds)
		}
		if n != len(list) {
			t.Fatalf("%d bonds reported or counted, want %d", n, len(list))
		}
		if c := conditionOf(list); len(c.Message) > maxMessage || c.Reason == "" || !utf8.ValidString(c.Message) {
			t.Fatalf("condition %+v", c)
		}
	})
}

func TestCondition(t *testing.T) {
	ready := bond.Status{Key: bond.Key{IfName: "ok"}, State: bond.StateReady}
	with := func(state bond.State, member bond.MemberState) bond.Status {
		return bond.Status{Key: bond.Key{IfName: "b"}, State: state, Members: []bond.MemberStatus{{Name: "net1", State: member}, {Name: "net2", State: "lost"}}}
	}
	const yes, no = corev1.ConditionTrue, corev1.ConditionFalse
	for _, tc := range []struct {
		name   string
		bonds  []bond.Status
		status corev1.ConditionStatus
		reason string
		in     string
	}{
		{"ready", []bond.Status{ready}, yes, "AllReady", "bonds: 1"},
		{"a leg less", []bond.Status{ready, with(bond.StateDegraded, "active")}, yes, "Degraded", "b is Degraded: net2 is lost"},
		{"down", []bond.Status{with(bond.StateDown, "no carrier"), ready}, no, "Down", "net1 is no carrier, net2 is lost"},
		{"the bond is down, its member is not", []bond.Status{with(bond.StateDown, "active")}, no, "Down", "b is Down"},
		{"repairing with a leg", []bond.Status{with(bond.StateRepairing, "up")}, yes, "Repairing", "b is Repairing"},
		{"repairing without", []bond.Status{with(bond.StateRepairing, "in host")}, no, "Repairing", "b is Repairing"},
		{"stuck and carries", []bond.Status{with(bond.StateStuck, "backup"), with(bond.StateDegraded, "up")}, yes, "Stuck", "b is Stuck"},
		{"stuck", []bond.Status{with(bond.StateDegraded, "up"), with(bond.StateStuck, "lost")}, no, "Stuck", "b is Stuck"},
		{"stuck without carrier", []bond.Status{{State: bond.StateStuck, NoCarrier: true, Members: []bond.MemberStatus{{State: "up"}}}}, no, "Stuck", "is Stuck"},
		{"the PF drops what the active member sends", []bond.Status{{State: bond.StateRepairing, Members: []bond.MemberStatus{{State: "pf drift"}, {State: "backup"}}}}, no, "Repairing", "is Repairing"},
		{"the PF drops what the backup would send", []bond.Status{{State: bond.StateRepairing, Members: []bond.MemberStatus{{State: "pf drift"}, {State: "active"}}}}, yes, "Repairing", "is Repairing"},
		{"what carries is not why", []bond.Status{with(bond.StateRepairing, "lost"), with(bond.StateStuck, "up")}, no, "Repairing", "b is Stuck"},
		{"the worst", []bond.Status{with(bond.StateStuck, "lost"), with(bond.StateDown, "lost"), with(bond.StateRepairing, "lost")}, no, "Down", "b is Stuck"},
	} {
		if c := conditionOf(tc.bonds); c.Type != "bondkeeper.io/BondsReady" || c.Status != tc.status || c.Reason != tc.reason || !strings.Contains(c.Message, tc.in) {
			t.Errorf("%s: %+v", tc.name, c)
		}
	}
}

func TestCircuitBreaker(t *testing.T) {
	g := circuitBreaker{minPause: time.Second, maxPause: time.Minute}
	now := time.Now()
	if _, ok := g.allow(now); !ok {
		t.Fatal("closed at the start")
	}
	for n := 1; n <= 10; n++ {
		if news := g.done(now, false, 0); news != (n == 1) {
			t.Errorf("failure %d: changed %v", n, news)
		}
		if g.done(now, false, 0) {
			t.Error("a request that was sent before the pause counts twice")
		}
		pause := g.nextAllowed().Sub(now)
		if want := min(time.Second<<(n-1), time.Minute); pause < want/2 || pause > want*3/2 {
			t.Errorf("pause %d is %s, want %s, half of it off at most", n, pause, want)
		}
		now = g.nextAllowed()
		if _, ok := g.allow(now); !ok {
			t.Fatal("still closed after its pause")
		}
		if wait, ok := g.allow(now); ok || wait <= 0 {
			t.Fatal("a second request before the response to the first")
		}
	}
	if !g.done(now, true, 0) || g.done(now, true, 0) {
		t.Error("its return is a change, once")
	}
	for range 2 {
		if _, ok := g.allow(now); !ok {
			t.Fatal("closed though the API server is back")
		}
	}
	g.done(now, false, 1000*time.Hour)
	if pause := g.nextAllowed().Sub(now); pause > 2*maxRetryAfter {
		t.Errorf("a broken proxy stops the node for %s", pause)
	}
}
