package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		nil, {"fly"}, {"status", "now"}, {"status", "-o", "xml"}, {"status", "--nonsense"}, {"status", "-state-dir", "x"},
		{"run", "--log-level", "loud"}, {"run", "--log-format", "xml"}, {"run", "extra"}, {"version", "-x"},
	} {
		if err := execute(t.Context(), args, new(strings.Builder)); !errors.Is(err, errUsage) {
			t.Errorf("agent %q: %v, want a usage error", args, err)
		}
	}
}

func TestVersion(t *testing.T) {
	var out strings.Builder
	if err := execute(t.Context(), []string{"version"}, &out); err != nil || out.String() != version+"\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestStatusWithoutAgent: status shows the recorded bonds, also if the sandbox is gone.
func TestStatusWithoutAgent(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err = execute(t.Context(), []string{"status", "--state-dir", dir}, &out); err != nil || !strings.Contains(out.String(), "no bonds on record") {
		t.Errorf("empty: %q, %v", out.String(), err)
	}
	rec := &bond.Record{
		Key: bond.Key{ContainerID: "c0ffee", IfName: "bond0"}, Phase: bond.PhaseReady, Network: "n",
		Sandbox: bond.Sandbox{Path: "/nonexistent", Dev: 1, Inode: 1},
		Spec:    bond.Spec{Options: bond.Options{bond.OptMode: "active-backup"}},
		Members: []bond.Member{{Name: "net1", PCI: "ffff:01:10.0", Original: bond.Original{Name: "net1"}}},
	}
	if err = s.Save(rec); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err = execute(t.Context(), []string{"status", "--state-dir", dir, "-o", "json"}, &out); err != nil {
		t.Fatal(err)
	}
	var all []bond.Status
	if err = json.Unmarshal([]byte(out.String()), &all); err != nil || len(all) != 1 || all[0].State != bond.StateDown || !strings.Contains(all[0].Reason, "/nonexistent") {
		t.Errorf("%s (%v)", out.String(), err)
	}
}

// TestStatusOfUnreleasedAddresses: status shows addresses that remain allocated after a DEL, and the reason.
func TestStatusOfUnreleasedAddresses(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Save(&bond.Record{
		Key: bond.Key{ContainerID: "c0ffee", IfName: "bond0"}, Phase: bond.PhaseDeleting, Network: "n",
		Sandbox: bond.Sandbox{Path: "/nonexistent", Dev: 1, Inode: 1},
		Spec:    bond.Spec{Options: bond.Options{bond.OptMode: "active-backup"}},
		Members: []bond.Member{{Name: "net1", PCI: "ffff:01:10.0", Original: bond.Original{Name: "net1"}}},
		CNI:     bond.CNI{IPAMAttempts: 3, IPAMError: "IPAM dhcp DEL: no daemon"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err = execute(t.Context(), []string{"status", "--state-dir", dir}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Deleting", "the addresses remain allocated: attempt 3 failed", "IPAM dhcp DEL: no daemon"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// TestWaitingAgentStops: an agent that waits for another one to end can be stopped.
func TestWaitingAgentStops(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := s.LockAgent(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- execute(ctx, []string{"run", "--state-dir", dir}, new(strings.Builder)) }()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("a waiting agent that is stopped: %v", err)
	}
}
