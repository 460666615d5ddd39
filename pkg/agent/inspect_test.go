package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// node is a fake node on which one bond cannot be observed.
type node struct {
	*scenario.Node
	unobservable bond.Key
}

var errObserve = errors.New("no response from the kernel")

func (n *node) SandboxAlive(bond.Sandbox) (bool, error) { return true, nil }

func (n *node) Observe(ctx context.Context, r *bond.Record) (bond.Observed, error) {
	if r.Key == n.unobservable {
		return bond.Observed{}, errObserve
	}
	return n.Node.Observe(ctx, r)
}

// TestInspect: a record that is damaged and a bond that cannot be observed are reported, and the other bonds returned.
func TestInspect(t *testing.T) {
	dir := t.TempDir()
	records, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	kernel := &node{Node: scenario.New(scenario.OKD()), unobservable: bond.Key{ContainerID: "deaf", IfName: "bond0"}}
	second := *kernel.Record
	second.Key = kernel.unobservable
	damaged := filepath.Join(dir, "c1@bond0.json")
	if err = errors.Join(records.Save(kernel.Record), records.Save(&second), os.WriteFile(damaged, []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var reported []string
	all, err := Inspect(t.Context(), records, kernel, func(*bond.Record) bool { return true }, func(err error) { reported = append(reported, err.Error()) })
	if err != nil || len(all) != 1 || all[0].Status.Key != kernel.Record.Key || all[0].Status.State != bond.StateRepairing {
		t.Errorf("%+v, %v; want the bond of %s, Repairing", all, err, kernel.Record.Key)
	}
	want := []string{damaged, "bond bond0 of pod demo/bondpod1: " + errObserve.Error()}
	if !slices.EqualFunc(reported, want, strings.Contains) {
		t.Errorf("reported %q, want %q", reported, want)
	}
}
