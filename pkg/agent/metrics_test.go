package agent

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/rest"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// allMetrics is the registry of an agent with an API server, and what it counts.
func allMetrics(t *testing.T, perPod bool) (*prometheus.Registry, *status.BondMetrics, *status.RepairMetrics) {
	t.Helper()
	reporter, err := status.NewReporter(status.Config{API: &rest.Config{Host: "127.0.0.1:1"}, Node: "n", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // ends what the reporter has started
		ended, end := context.WithCancel(context.Background())
		end()
		reporter.Run(ended)
	})
	bonds, repairs := status.NewBondMetrics(perPod), NewRepairMetrics()
	all, err := NewMetrics(Sources{Version: "v1", Bonds: bonds, Repairs: repairs, Reporter: reporter, Monitor: &fakeMonitor{}, Worker: &fakeWorker{}, Unreadable: new(atomic.Int64)})
	if err != nil {
		t.Fatal(err)
	}
	return all, bonds, repairs
}

// TestPromlint: names, units, types and help texts follow the conventions of Prometheus, with those of the Go runtime.
func TestPromlint(t *testing.T) {
	all, bonds, repairs := allMetrics(t, true)
	repairs.Lost(bond.SubjectMember, "MemberLost")
	bonds.Report(bond.Status{Key: bond.Key{ContainerID: "c", IfName: "bond0"}, Pod: bond.Pod{Namespace: "demo", Name: "pod"}, State: bond.StateReady})
	problems, err := testutil.GatherAndLint(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestCountersExistFromTheStart: the first increase of a series that begins with 1 is lost to Prometheus.
func TestCountersExistFromTheStart(t *testing.T) {
	all, _, _ := allMetrics(t, false)
	families, err := all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range families {
		got[f.GetName()] = len(f.GetMetric())
	}
	for name, want := range map[string]int{
		"bondkeeper_losses_total": 17, "bondkeeper_repairs_total": 34, "bondkeeper_action_failures_total": 23,
		"bondkeeper_pod_requests_total": 2, "bondkeeper_pod_request_failures_total": 3, "bondkeeper_last_loss_timestamp_seconds": 0,
		"bondkeeper_bonds": 5, "bondkeeper_resync_findings_total": len(plan.Codes()), "bondkeeper_bond_members": 12, "bondkeeper_bond_state_info": 0, "bondkeeper_api_requests_total": 6,
		"bondkeeper_repair_duration_seconds": 2, "bondkeeper_repair_phase_duration_seconds": 2, "bondkeeper_build_info": 1, "bondkeeper_unreadable_records": 1,
	} {
		if got[name] != want {
			t.Errorf("%s has %d series, want %d", name, got[name], want)
		}
	}
}

// TestNoPodInMetrics: nothing that a pod or user can choose is in a label, and the number of series does not depend on
// the number of bonds.
func TestNoPodInMetrics(t *testing.T) {
	all, bonds, repairs := allMetrics(t, false)
	before := labelValues(t, all)
	for _, name := range []string{"secret-one", "secret-two", "secret-three"} {
		for _, state := range []bond.State{bond.StateReady, bond.StateDown} {
			bonds.Report(bond.Status{
				Key: bond.Key{ContainerID: name, IfName: "secret0"}, Pod: bond.Pod{Namespace: name, Name: name, UID: name}, State: state,
				Reason: name, Network: name, Members: []bond.MemberStatus{{Name: name, PCI: "0000:00:00.7", State: bond.MemberLost, Reason: name}},
			})
		}
		repairs.Lost(bond.SubjectMember, "MemberLost")
		repairs.Recovered(bond.SubjectMember, "MemberLost", time.Minute, time.Second)
		repairs.Abandoned(bond.SubjectMember, "MemberLost")
	}
	if after := labelValues(t, all); !slices.Equal(before, after) {
		t.Errorf("labels were %q, and are %q", before, after)
	}
}

// labelValues are the labels of all series of the project.
func labelValues(t *testing.T, from *prometheus.Registry) (all []string) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if strings.HasPrefix(f.GetName(), "bondkeeper_") {
					all = append(all, f.GetName()+" "+l.GetName()+"="+l.GetValue())
				}
			}
		}
	}
	return all
}
