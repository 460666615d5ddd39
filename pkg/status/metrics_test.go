package status_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
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
		j := status.NewTransitionLogger(zap.NewNop())
		registry := prometheus.NewRegistry()
		if err := r.Register(registry); err != nil {
			t.Fatal(err)
		}
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
		s.fail(refuse(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable))
		report(lose(two))
		got := gathered(t, registry)
		for name, want := range map[string]float64{
			"bondkeeper_bonds{Ready}": 2, "bondkeeper_bonds{Degraded}": 1, "bondkeeper_bonds{Down}": 0,
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
