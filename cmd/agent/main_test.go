package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		nil, {"fly"}, {"status", "now"}, {"status", "-o", "xml"}, {"status", "--nonsense"}, {"status", "-state-dir", "x"}, {"status", "--state", "Fine"}, {"explain"}, {"explain", "a", "b"}, {"explain", "a", "-o", "xml"},
		{"run", "--log-level", "loud"}, {"run", "--log-format", "xml"}, {"run", "extra"}, {"version", "-x"},
		{"completion", "bash", "extra"}, {"completion"}, {"completion", "csh"}, {"doctor", "now"}, {"sysdump", "now"}, {"probe"}, {"probe", "healthz"}, {"metrics-proxy", "now"}, {"install-cni", "now"},
	} {
		if err := execute(t.Context(), args, new(strings.Builder)); !errors.Is(err, errUsage) {
			t.Errorf("agent %q: %v, want a usage error", args, err)
		}
	}
}

// TestRunChecksItsFlags: a value that the agent cannot work with is a usage error, before anything is opened. With fewer
// workers than none nothing would be repaired.
func TestRunChecksItsFlags(t *testing.T) {
	for _, flag := range [][]string{
		{"--runtime", "docker"}, {"--runtime", "cri://host/socket"}, {"--workers", "-1"}, {"--receive-buffer", "-1"},
		{"--resync", "-1s"}, {"--grace", "-1s"}, {"--sandbox-grace", "-1s"}, {"--carrier-patience", "-1s"},
		{"--flap-window", "-1s"}, {"--setup-quiet", "-1s"}, {"--setup-timeout", "-1s"},
	} {
		err := execute(t.Context(), append([]string{"run", "--state-dir", "/dev/null/none"}, flag...), new(strings.Builder))
		if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), flag[0]) || !strings.Contains(err.Error(), flag[1]) {
			t.Errorf("agent run %q: %v, want a usage error that names flag and value", flag, err)
		}
	}
}

// TestStateFlag: the description of --state, which the documents repeat, has all states.
func TestStateFlag(t *testing.T) {
	if usage, states := statusCommand().Flag("state").Usage, strings.Join(stateNames(), ", "); !strings.HasSuffix(usage, ": "+states) {
		t.Errorf("%q, want at its end %q", usage, states)
	}
}

func TestVersion(t *testing.T) {
	var out strings.Builder
	if err := execute(t.Context(), []string{"version"}, &out); err != nil || out.String() != version+"\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// stateDirWith is a state directory with these records.
func stateDirWith(t *testing.T, all ...*bond.Record) string {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(dir)
	for _, r := range all {
		err = errors.Join(err, s.Save(r))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
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
	dir := stateDirWith(t, &bond.Record{
		Key: bond.Key{ContainerID: "c0ffee", IfName: "bond0"}, Phase: bond.PhaseDeleting, Network: "n",
		Sandbox: bond.Sandbox{Path: "/nonexistent", Dev: 1, Inode: 1},
		Spec:    bond.Spec{Options: bond.Options{bond.OptMode: "active-backup"}},
		Members: []bond.Member{{Name: "net1", PCI: "ffff:01:10.0", Original: bond.Original{Name: "net1"}}},
		CNI:     bond.CNI{IPAMAttempts: 3, IPAMError: "IPAM dhcp DEL: no daemon"},
	})
	var out strings.Builder
	if err := execute(t.Context(), []string{"status", "--state-dir", dir}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Deleting", "the addresses remain allocated: attempt 3 failed", "IPAM dhcp DEL: no daemon"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// TestStatusFilters: --pod and --state select bonds; each format has the selected ones.
func TestStatusFilters(t *testing.T) {
	var records []*bond.Record
	for _, pod := range []bond.Pod{{Namespace: "a", Name: "web"}, {Namespace: "b", Name: "web"}, {Namespace: "a", Name: "db"}} {
		records = append(records, &bond.Record{
			Key: bond.Key{ContainerID: pod.Namespace + pod.Name, IfName: "bond0"}, Phase: bond.PhaseReady, Pod: pod,
			Sandbox: bond.Sandbox{Path: "/nonexistent", Dev: 1, Inode: 1}, Spec: bond.Spec{Options: bond.Options{bond.OptMode: "active-backup"}},
			Members: []bond.Member{{Name: "net1", PCI: "ffff:01:10.0", Original: bond.Original{Name: "net1"}}},
		})
	}
	dir := stateDirWith(t, records...)
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"a/db", "a/web", "b/web"}},
		{[]string{"--pod", "web"}, []string{"a/web", "b/web"}},
		{[]string{"--pod", "a/web,db"}, []string{"a/db", "a/web"}},
		{[]string{"--state", "Down,Ready", "--pod", "a/web"}, []string{"a/web"}},
		{[]string{"--state", "Ready"}, nil},
	} {
		for _, format := range []string{"table", "wide", "json", "yaml"} {
			var out strings.Builder
			if err := execute(t.Context(), append([]string{"status", "--state-dir", dir, "-o", format}, c.args...), &out); err != nil {
				t.Fatal(err)
			}
			var got []string
			switch format {
			case "json", "yaml":
				var all []bond.Status
				if err := yaml.Unmarshal([]byte(out.String()), &all); err != nil {
					t.Fatalf("%v: %s", err, out.String())
				}
				for _, b := range all {
					got = append(got, b.Pod.String())
				}
			default:
				for line := range strings.Lines(out.String()) {
					if pod, rest, _ := strings.Cut(line, " "); strings.Contains(pod, "/") && strings.HasPrefix(strings.TrimSpace(rest), "bond0  ") {
						got = append(got, pod)
					}
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("%q -o %s: %q, want %q\n%s", c.args, format, got, c.want, out.String())
			}
		}
	}
}

// TestCompletion: the shell is offered the pods with a record, each once.
func TestCompletion(t *testing.T) {
	record := func(ifName string) *bond.Record {
		return &bond.Record{
			Key: bond.Key{ContainerID: "c0ffee", IfName: ifName}, Phase: bond.PhaseReady, Pod: bond.Pod{Namespace: "demo", Name: "web"},
			Sandbox: bond.Sandbox{Path: "/nonexistent", Dev: 1, Inode: 1}, Spec: bond.Spec{Options: bond.Options{bond.OptMode: "active-backup"}},
			Members: []bond.Member{{Name: "net1", PCI: "ffff:01:10.0", Original: bond.Original{Name: "net1"}}},
		}
	}
	dir := stateDirWith(t, record("bond0"), record("bond1"))
	for _, args := range [][]string{{"explain", "--state-dir", dir, ""}, {"status", "--state-dir", dir, "--pod", ""}} {
		var out strings.Builder
		if err := execute(t.Context(), append([]string{"__complete"}, args...), &out); err != nil || out.String() != "demo/web\n:4\n" {
			t.Errorf("%q: %q, %v", args, out.String(), err)
		}
	}
}

// TestExplainWithoutAgent: the explanation of a bond whose sandbox is gone, and the error for a pod without a bond.
func TestExplainWithoutAgent(t *testing.T) {
	dir := stateDirWith(t, &bond.Record{
		Key: bond.Key{ContainerID: "c0ffee", IfName: "bond0"}, Phase: bond.PhaseReady, Pod: bond.Pod{Namespace: "demo", Name: "web"},
		Sandbox: bond.Sandbox{Path: "/nonexistent", Dev: 1, Inode: 1}, Spec: bond.Spec{Options: bond.Options{bond.OptMode: "active-backup"}},
		Members: []bond.Member{{Name: "net1", PCI: "ffff:01:10.0", Original: bond.Original{Name: "net1"}}},
	})
	for format, want := range map[string]string{"text": "Pod demo/web, bond bond0: Down\n", "json": `"code": "SandboxGone"`, "yaml": "code: SandboxGone"} {
		var out strings.Builder
		if err := execute(t.Context(), []string{"explain", "--state-dir", dir, "-o", format, "demo/web"}, &out); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, no %q in\n%s", format, err, want, &out)
		}
	}
	err := execute(t.Context(), []string{"explain", "--state-dir", dir, "other"}, new(strings.Builder))
	if err == nil || errors.Is(err, errUsage) || !strings.Contains(err.Error(), "pod other has no bond on record in "+dir) {
		t.Errorf("an unknown pod: %v", err)
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
