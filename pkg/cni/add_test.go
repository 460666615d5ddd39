package cni

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TestAddActiveMAC: a bond whose first member has no carrier yet has another member's MAC. That one is returned and
// recorded.
func TestAddActiveMAC(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	n.Must(n.SetPFCarrier("pf0", false))
	result := n.MustAdd(n.Args("c1", pod, n.Config(nil)))
	want := n.LinkAt(pod, "net2").MAC
	if got := result.Interfaces[0].Mac; got != string(want) {
		t.Errorf("result has MAC %s, want %s", got, want)
	}
	if got := n.Record("c1").Spec.MAC; got != want {
		t.Errorf("record has MAC %s, want %s", got, want)
	}
}

func TestAddChained(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	prev := map[string]any{"cniVersion": "1.0.0", "interfaces": []any{map[string]string{"name": "eth0", "sandbox": pod}},
		"ips": []any{map[string]any{"address": "10.244.0.5/24", "interface": 0}}, "dns": map[string]any{"domain": "cluster"}}
	result := n.MustAdd(n.Args("c1", pod, n.Config(map[string]any{"cniVersion": "1.0.0", "prevResult": prev})))
	if len(result.Interfaces) != 2 || result.Interfaces[1].Name != "bond0" {
		t.Errorf("interfaces: %v", result.Interfaces)
	}
	if len(result.IPs) != 2 || *result.IPs[0].Interface != 0 || *result.IPs[1].Interface != 1 {
		t.Errorf("IPs: %v", result.IPs)
	}
	if result.DNS.Domain != "cluster" {
		t.Errorf("DNS: %v", result.DNS)
	}
}

// TestIfNameOfOlderVersion: an ADD of an older version used ifname. Its bond keeps that name while the pod exists.
func TestIfNameOfOlderVersion(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	before := n.String()
	args := n.Args("c1", pod, n.Config(map[string]any{"ifname": "bond7"}))
	result := n.MustAdd(args)
	rec := n.Record("c1")
	rec.Spec.Name, rec.Warnings = "bond7", nil
	n.Must(n.Store.Save(rec))
	n.Must(n.Rename(pod, "bond0", "bond7"))
	result.Interfaces[0].Name = "bond7"
	n.MustCheck(args, result)
	n.Must(n.Rename(pod, "bond7", "mine"))
	if _, err := n.Engine().Converge(t.Context(), rec.Key); err != nil {
		t.Fatal(err)
	}
	n.LinkAt(pod, "bond7")
	n.Must(n.DeleteBond(pod, "bond7"))
	if _, err := n.Engine().Converge(t.Context(), rec.Key); err != nil {
		t.Fatal(err)
	}
	n.LinkAt(pod, "bond7")
	n.MustDel(args)
	n.WantNothingLeft(before)
}

// TestSameNetns: an inode number alone does not make two sandboxes one.
func TestSameNetns(t *testing.T) {
	a := bond.Sandbox{Dev: 4, Inode: 7, Boot: "x", Cookie: 1}
	for _, tt := range []struct {
		b    bond.Sandbox
		same bool
	}{
		{a, true},
		{bond.Sandbox{Dev: 4, Inode: 7}, true}, // of an older version
		{bond.Sandbox{Dev: 4, Inode: 7, Boot: "x", Cookie: 2}, false},
		{bond.Sandbox{Dev: 4, Inode: 7, Boot: "y", Cookie: 1}, false},
		{bond.Sandbox{Dev: 4, Inode: 8, Boot: "x", Cookie: 1}, false},
	} {
		if got := sameNetns(a, tt.b); got != tt.same {
			t.Errorf("%+v: %t", tt.b, got)
		}
	}
}
