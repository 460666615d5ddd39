//go:build lab

package heal

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestTools: what an operator learns from agent status, explain, sysdump and metrics about a lost VF and its repair.
func TestTools(t *testing.T) {
	r, err := New(t.Context(), Config{Bin: *bin})
	kit.Must(t, err)
	defer func() { kit.Must(t, r.Close(t.Context())) }()
	kit.Must(t, r.useAgent(t.Context(), "--resync", "2s")) // traffic control and ethtool settings are learned by a resync
	p := r.A
	name, vf := bond.Pod{Namespace: "demo", Name: p.Name}.String(), bond.PCIAddress(p.members[0].pci)

	kit.Must(t, kit.Links{}.AddQdisc(p.netns(), "net1", "clsact"))
	kit.Must(t, kit.Links{}.SetEthtool(p.netns(), "net1", "ring rx", "128"))
	kit.Must(t, kit.Links{}.SetEthtool(p.netns(), "net1", "feature rx-gro", "off"))
	awaitRecord(t, p, `"clsact"`)
	awaitRecord(t, p, `"ring rx":"128"`)
	awaitRecord(t, p, `"feature rx-gro":"off"`)
	kit.Must(t, kit.Links{}.UnbindVF(vf))
	awaitState(t, name, bond.StateDegraded)
	explained := agentPrints(t, "explain", name)
	t.Logf("agent status\n%s\nagent explain %s\n%s", agentPrints(t, "status"), name, explained)
	has(t, "explain", explained, "MemberLost of net1", "driver", "differs", "net1 lost (MemberLost)")
	checkDump(t, p)
	const losses = `bondkeeper_losses_total{cause="MemberLost",subject="member"}`
	const repair = `bondkeeper_repairs_total{cause="MemberLost",result="recovered",subject="member"}`
	wantMetric(t, losses, "1")
	wantMetric(t, repair, "0")
	wantMetric(t, `bondkeeper_bond_members{state="lost"}`, "1")

	kit.Must(t, kit.Links{}.BindVF(vf))
	awaitState(t, name, bond.StateReady)
	has(t, "explain", agentPrints(t, "explain", name), "bond bond0: Ready\n", "net1 repaired after MemberLost", "change nothing (converged)")
	wide := []string{name, "net1 Member"}
	if r.cards[0].model.VFSettings { // otherwise the PF is not recorded
		wide = append(wide, " of "+r.cards[0].PF.PCI)
	}
	has(t, "status", agentPrints(t, "status", "-o", "wide"), wide...)
	has(t, "status", agentPrints(t, "status"), "traffic control of net1 is missing since it was lost: clsact",
		"ethtool settings of net1 are missing since it was lost: feature rx-gro off, ring rx 128;")
	checkLossID(t, r, name)
	wantMetric(t, losses, "1")
	wantMetric(t, repair, "1")
	wantMetric(t, `bondkeeper_bond_members{state="lost"}`, "0")
	wantMetric(t, `bondkeeper_repair_duration_seconds_count{subject="member"}`, "1")
	wantMetric(t, `bondkeeper_repair_phase_duration_seconds_count{phase="absent"}`, "1")
	wantMetric(t, `bondkeeper_repair_phase_duration_seconds_count{phase="repair"}`, "1")
	// A restarted agent does not count an open loss again, and counts its end.
	kit.Must(t, kit.Links{}.UnbindVF(vf))
	wantMetric(t, losses, "2")
	kit.Must(t, r.useAgent(t.Context()))
	wantMetric(t, `bondkeeper_bond_members{state="lost"}`, "1")
	kit.Must(t, kit.Links{}.BindVF(vf))
	wantMetric(t, repair, "1")
	wantMetric(t, losses, "0")
}

// awaitRecord waits until the record of a pod's bond has a text.
func awaitRecord(t *testing.T, p *Pod, text string) {
	t.Helper()
	var last []byte
	kit.Eventually(t, "the record has "+text, func() bool {
		last, _ = os.ReadFile(recordOf(p))
		return strings.Contains(string(last), text)
	}, func() string { return string(last) })
}

// checkLossID: the ID in the explanation finds the loss and its repair in the agent's log.
func checkLossID(t *testing.T, r *Fixture, pod string) {
	t.Helper()
	_, id, found := strings.Cut(agentPrints(t, "explain", pod), "(loss ")
	if !found {
		t.Fatal("explain has no ID of a loss")
	}
	id = id[:strings.Index(id, ")")]
	expected := []string{"member lost", "bond state changed", "applied", "member recovered", "bond state changed"}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New("the log does not have all lines of the loss"))
	defer cancel()
	_, _, err := r.log.await(ctx, 0, func(l Line) bool {
		if strings.Contains(l.Raw, id) && len(expected) > 0 && l.Msg == expected[0] {
			expected = expected[1:]
		}
		return len(expected) == 0
	})
	kit.Must(t, err)
}

// wantMetric waits until the agent, which counts at the end of a reconcile, has a value.
func wantMetric(t *testing.T, series, want string) {
	t.Helper()
	var last string
	kit.Eventually(t, series+" is "+want, func() bool {
		value, err := metric(t.Context(), series)
		last = fmt.Sprint(value, " ", err)
		return err == nil && value == want
	}, func() string { return last })
}

func agentPrints(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(*bin, "agent"), args...).Output()
	if err != nil {
		var failed *exec.ExitError
		errors.As(err, &failed)
		t.Fatalf("agent %q: %v: %s", args, err, failed.Stderr)
	}
	return string(out)
}

func awaitState(t *testing.T, pod string, want bond.State) {
	t.Helper()
	last := ""
	kit.Eventually(t, pod+" is "+string(want), func() bool {
		var all []bond.Status
		last = agentPrints(t, "status", "-o", "json", "--pod", pod)
		kit.Must(t, json.Unmarshal([]byte(last), &all))
		return len(all) == 1 && all[0].State == want
	}, func() string { return last })
}

func has(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s has no %q:\n%s", what, part, text)
		}
	}
}

// checkDump: the archive has the state of host, pod and bond, and everything could be read but what a guest does not
// have.
func checkDump(t *testing.T, p *Pod) {
	t.Helper()
	files := unpack(t, agentPrints(t, "sysdump", "--runtime", "none", "--kubeconfig", "none"))
	pod := "pods/demo_" + p.Name + "_" + p.id + "/"
	links := `"Vfs"` // of the PFs
	if !p.fixture.cards[0].model.VFSettings {
		links = `"ParentDev"`
	}
	for file, part := range map[string]string{
		"versions.txt": "kernel: ", "doctor.json": `"findings"`, "status.json": `"Degraded"`, "agent/metrics.txt": "bondkeeper_bonds{",
		"agent/readyz.txt": "200 OK", "host/links.json": links, "kernel.log": p.members[0].pci, "state/" + p.id + "@bond0.json": `"members"`,
		pod + "bond0.txt": "MemberLost of net1", pod + "bond0.observed.json": `"SandboxAlive": true`,
		pod + "netns/bonding/bond0.txt": "Bonding Mode", pod + "netns/links.json": `"Kind": "bond"`, pod + "netns/routes.json": `"Dst"`,
	} {
		has(t, file, files[file], part)
	}
	for line := range strings.Lines(files["problems.txt"]) {
		if !strings.HasPrefix(line, "log: no file") && !strings.HasPrefix(line, "lstat /var/lib/cni/sriov") {
			t.Errorf("a problem: %s", line)
		}
	}
}

// unpack returns the files of an archive, without the directory that they have in common.
func unpack(t *testing.T, archive string) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(archive))
	kit.Must(t, err)
	files := map[string]string{}
	for entries := tar.NewReader(z); ; {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		kit.Must(t, err)
		var text bytes.Buffer
		_, err = text.ReadFrom(entries)
		kit.Must(t, err)
		_, name, _ := strings.Cut(h.Name, "/")
		files[name] = text.String()
	}
}
