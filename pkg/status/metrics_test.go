package status_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// gathered returns all metrics of a registry, as "name{label}" with their values.
func gathered(t *testing.T, from *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "{" + l.GetValue() + "}"
			}
			all[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		r, _ := start(t, s, status.Config{Dir: t.TempDir()})
		j := status.NewBondMetrics(false)
		registry := registryOf(t, r)
		if err := j.Register(registry); err != nil {
			t.Fatal(err)
		}
		report := func(b bond.Status) {
			j.Report(b)
			r.Report(b)
			pass(time.Minute)
		}
		one, two, notFound := bondOf(podN(1), "bond0"), bondOf(podN(2), "bond0"), bondOf(podN(3), "bond0")
		s.add(podN(1))
		s.add(podN(2))
		report(one)
		report(two)
		report(notFound)
		report(repaired(repaired(one)))
		s.fail(rejectWith(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable))
		report(lose(two))
		got := gathered(t, registry)
		for name, want := range map[string]float64{
			"bondkeeper_bonds{Ready}": 2, "bondkeeper_bonds{Degraded}": 1, "bondkeeper_bonds{Down}": 0,
			"bondkeeper_bond_members{active}": 3, "bondkeeper_bond_members{backup}": 2, "bondkeeper_bond_members{lost}": 1, "bondkeeper_bond_members{up}": 0,
			"bondkeeper_pod_requests_total{get}": 2, "bondkeeper_pod_requests_total{patch}": 3,
			"bondkeeper_pod_request_failures_total{not_found}": 1, "bondkeeper_pods_pending": 1,
		} {
			if got[name] != want {
				t.Errorf("%s is %g, want %g", name, got[name], want)
			}
		}
		if got["bondkeeper_pod_request_failures_total{unavailable}"] < 3 {
			t.Errorf("failures: %v", got)
		}
		if age := time.Since(time.Unix(int64(got["bondkeeper_pod_last_success_timestamp_seconds"]), 0)); age < 119*time.Second || age > 121*time.Second {
			t.Errorf("the last success was %s ago", age)
		}
	})
}

// TestFlappingPodsAreNotPending: pods whose bonds change all the time are patched every 30 s. Their status is not old,
// and the alert on pending pods does not concern them.
func TestFlappingPodsAreNotPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		r, _ := start(t, s, status.Config{Dir: t.TempDir()})
		registry := registryOf(t, r)
		pending := func() float64 { return gathered(t, registry)["bondkeeper_pods_pending"] }
		bonds := []bond.Status{bondOf(podN(0), "bond0"), bondOf(podN(1), "bond0")}
		flap := func() {
			for i := range bonds {
				bonds[i] = repaired(lose(bonds[i]))
				r.Report(bonds[i])
				pass(3 * time.Second)
			}
		}
		s.add(podN(0))
		s.add(podN(1))
		for range 100 {
			if flap(); pending() != 0 {
				t.Fatalf("%g pods are pending", pending())
			}
		}
		s.fail(rejectWith(http.StatusForbidden, metav1.StatusReasonForbidden))
		for range 6 {
			flap()
		}
		if pending() != 2 {
			t.Errorf("%g pods are pending while patches are rejected, want 2", pending())
		}
	})
}

// TestBondMetrics: gauges show the latest state of each bond, and nothing of a bond that has ended.
func TestBondMetrics(t *testing.T) {
	m := status.NewBondMetrics(false)
	registry := prometheus.NewRegistry()
	if err := m.Register(registry); err != nil {
		t.Fatal(err)
	}
	start := gathered(t, registry)
	one, two := bondOf(podN(1), "bond0"), bondOf(podN(2), "bond0")
	two.Fighting, two.Contested = 2, 3
	m.Report(one)
	m.Report(two)
	m.Report(lose(one))
	ending := bondOf(podN(3), "bond0")
	ending.State = bond.StateDeleting
	m.Report(ending)
	want := maps.Clone(start)
	maps.Copy(want, map[string]float64{
		"bondkeeper_bonds{Ready}": 1, "bondkeeper_bonds{Degraded}": 1, "bondkeeper_bonds_fighting": 1, "bondkeeper_contested_settings": 3,
		"bondkeeper_bond_members{active}": 2, "bondkeeper_bond_members{backup}": 1, "bondkeeper_bond_members{lost}": 1,
	})
	if got := gathered(t, registry); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, b := range []bond.Status{one, two, ending} {
		m.Forget(b.Key)
	}
	if got := gathered(t, registry); !maps.Equal(got, start) || len(start) != 5+12+2 {
		t.Errorf("without bonds %v, at the start %v", got, start)
	}
}

// TestMetricsPerPod: only with the flag, one series per bond. Two sandboxes of one pod do not conflict, and no name can
// break the page.
func TestMetricsPerPod(t *testing.T) {
	m := status.NewBondMetrics(true)
	registry := prometheus.NewRegistry()
	if err := m.Register(registry); err != nil {
		t.Fatal(err)
	}
	info := func() map[string]float64 {
		all := gathered(t, registry)
		maps.DeleteFunc(all, func(name string, _ float64) bool { return !strings.HasPrefix(name, "bondkeeper_bond_state_info") })
		return all
	}
	old, current, odd, nameless := bondOf(podN(1), "bond0"), bondOf(podN(1), "bond0"), bondOf(podN(2), "bond0"), bondOf(bond.Pod{}, "bond0")
	current.Key.ContainerID = "another"
	odd.Pod.Name = "odd\xff\n\"" + strings.Repeat("x", 1000)
	for _, b := range []bond.Status{old, current, odd, nameless} {
		m.Report(b)
	}
	got := info()
	if len(got) != 2 || got["bondkeeper_bond_state_info{bond0}{demo}{"+podN(1).Name+"}{Ready}"] != 1 {
		t.Errorf("got %v, want a series of the first pod and one of the odd one", got)
	}
	m.Report(lose(current))
	m.Forget(old.Key)
	m.Forget(odd.Key)
	if got := info(); len(got) != 1 || got["bondkeeper_bond_state_info{bond0}{demo}{"+podN(1).Name+"}{Degraded}"] != 1 {
		t.Errorf("after a loss %v", got)
	}
}

// TestAPIRequestsAreCounted: each HTTP request, by method and status code, or error.
func TestAPIRequestsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		r, _ := start(t, s, status.Config{Dir: t.TempDir()})
		registry := registryOf(t, r)
		s.add(podN(1))
		want := func(when string, want map[string]float64) {
			t.Helper()
			for name, n := range gathered(t, registry) {
				if code, ok := strings.CutPrefix(name, "bondkeeper_api_requests_total"); ok && n != want[code] {
					t.Errorf("%s: %s is %g, want %g", when, code, n, want[code])
				}
			}
		}
		want("at the start", nil)
		r.Report(bondOf(podN(1), "bond0"))
		pass(time.Minute)
		want("a new bond", map[string]float64{"{200}{PATCH}": 2})
		s.fail(rejectWith(http.StatusForbidden, metav1.StatusReasonForbidden))
		r.Report(lose(bondOf(podN(1), "bond0")))
		pass(500 * time.Millisecond)
		want("forbidden", map[string]float64{"{200}{PATCH}": 2, "{403}{PATCH}": 1})
	})
}

// TestConcurrentReports: many workers report and forget at once while the API server hangs. None of them waits, and
// only existing bonds are pending.
func TestConcurrentReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.fail(locked(s, outages["hangs"]))
		dir := t.TempDir()
		r, _ := start(t, s, status.Config{Dir: dir})
		begin := time.Now()
		var all sync.WaitGroup
		for w := range 8 {
			all.Go(func() {
				for round := range 20 {
					for i := range 16 {
						b := bondOf(podN(w*16+i), fmt.Sprint("bond", i%2))
						b.Repairs = round
						r.Report(b)
						if i >= 8 {
							r.Forget(b.Key)
						}
					}
				}
			})
		}
		all.Wait()
		if d := time.Since(begin); d != 0 {
			t.Errorf("reporting took %s", d)
		}
		pass(time.Minute)
		if n := r.PendingPods(); n != 64 {
			t.Errorf("%d pods pending, want the 64 that were not forgotten", n)
		}
	})
}

// TestEventsOfTerminatingNamespaces: while a namespace is deleted its pods may lose their bonds, and the API server
// rejects events in it. That needs neither an alert nor a line in the log, unlike another 403.
func TestEventsOfTerminatingNamespaces(t *testing.T) {
	for code, cause := range map[string]metav1.CauseType{"terminating": corev1.NamespaceTerminatingCause, "403": "Other"} {
		synctest.Test(t, func(t *testing.T) {
			s, p := newServer(t), podN(1)
			s.add(p)
			core, logs := observer.New(zap.WarnLevel)
			r, _ := start(t, s, status.Config{Dir: t.TempDir(), Log: zap.New(core)})
			registry := registryOf(t, r)
			s.fail(func(q *http.Request) (*http.Response, error) {
				if q.Method != http.MethodPost {
					return nil, nil
				}
				f := failure(http.StatusForbidden, metav1.StatusReasonForbidden)
				f.Details = &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: cause}}}
				return reply(q, http.StatusForbidden, f), nil
			})
			r.Report(lose(bondOf(p, "bond0")))
			pass(time.Minute)
			for _, c := range []string{"terminating", "403"} {
				name := fmt.Sprintf("bondkeeper_api_requests_total{%s}{POST}", c)
				if got, want := gathered(t, registry)[name], map[bool]float64{true: 1}[c == code]; got != want {
					t.Errorf("%s is %g, want %g", name, got, want)
				}
			}
			if logged := strings.Contains(fmt.Sprint(logs.All()), "test: Forbidden"); logged != (code == "403") {
				t.Errorf("code %s, logged: %v", code, logs.All())
			}
		})
	}
}

// registryOf returns a registry with the reporter's metrics.
func registryOf(t *testing.T, r *status.Reporter) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := r.Register(registry); err != nil {
		t.Fatal(err)
	}
	return registry
}
