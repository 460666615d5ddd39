package cni

import (
	"slices"
	"strings"
	"testing"
)

// TestWarnings: what is allowed and probably not meant is told, in the log and in the record; ADD succeeds.
func TestWarnings(t *testing.T) {
	balance := map[string]any{"mode": "balance-xor", "failOverMac": nil}
	trusted := func(n *node) {
		for _, pf := range []string{"pf0", "pf1"} {
			n.trust(n.VFs(pf)[0])
		}
	}
	tests := []struct {
		name    string
		changes map[string]any
		world   func(n *node)
		says    [][]string // one warning each; none means that ADD is quiet
	}{
		{"as the OKD page has it", nil, nil, nil},
		{"no monitor", map[string]any{"miimon": 0}, nil, [][]string{{"miimon", "is not detected"}}},
		{"delay that is rounded", map[string]any{"updelay": 250}, nil, [][]string{{"updelay: 250", "200"}}},
		{"policy of another mode", map[string]any{"xmitHashPolicy": "layer3+4"}, nil, [][]string{{"xmitHashPolicy", "active-backup"}}},
		{"untrusted, balance", balance, nil, [][]string{{"balance-xor", "net2", "trust"}}},
		{"untrusted, one MAC in active-backup", map[string]any{"failOverMac": nil}, nil, [][]string{{"failOverMac=none", "net2", "trust"}}},
		{"untrusted, follow", map[string]any{"failOverMac": 2}, nil, [][]string{{"failOverMac=follow", "net1, net2", "trust"}}},
		{"untrusted, balance-alb", map[string]any{"mode": 6, "failOverMac": nil}, nil, [][]string{{"balance-alb", "net1, net2", "trust"}}},
		{"trusted, balance", balance, trusted, nil},
		{"trusted, 802.3ad", map[string]any{"mode": 4, "failOverMac": nil}, trusted, [][]string{{"802.3ad", "net1, net2", "LACP"}}},
		{"active at first", map[string]any{"activeSlave": "net2"}, nil, nil},
		{"active at first beside a primary", map[string]any{"activeSlave": "net2", "primary": "net1"}, nil, [][]string{{"activeSlave", "net2", "net1"}}},
		{"addresses asked and no IPAM", map[string]any{"ipam": nil, "runtimeConfig": map[string]any{"ips": []string{"10.0.0.7/24"}}}, nil, [][]string{{"ips", "IPAM"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, 1)
			if tt.world != nil {
				tt.world(n)
			}
			n.mustAdd(n.args("c1", n.pod("p1", 0), n.config(tt.changes)))
			n.wantWarnings(tt.says)
		})
	}
}

// TestWarningOnePF: two VFs of one PF fail together.
func TestWarningOnePF(t *testing.T) {
	n := newNode(t, 2)
	pod := n.pod("p1", 0)
	n.must(n.MoveToNetns("", n.hostVF(0, 1), pod, "net3"))
	n.mustAdd(n.args("c1", pod, n.config(map[string]any{"links": []any{
		map[string]any{"name": "net1"}, map[string]any{"name": "net2"}, map[string]any{"name": "net3"},
	}})))
	n.wantWarnings([][]string{{"net1, net3", "pf0", "0000:01:00.0"}})
}

// wantWarnings wants the record of c1 to have these warnings and no others, and the log to have them all.
func (n *node) wantWarnings(says [][]string) {
	n.t.Helper()
	got := n.record("c1").Warnings
	if len(got) != len(says) {
		n.t.Fatalf("warnings %q, want %d", got, len(says))
	}
	for i, words := range says {
		if slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(got[i], w) }) {
			n.t.Errorf("warning %q, want it to say %q", got[i], words)
		}
		if !strings.Contains(n.stderr.String(), got[i]) {
			n.t.Errorf("standard error does not say %q: %s", got[i], n.stderr)
		}
	}
	if len(says) == 0 && n.stderr.String() != "" {
		n.t.Errorf("a quiet ADD says: %s", n.stderr)
	}
}
