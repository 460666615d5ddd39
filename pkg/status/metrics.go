package status

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
)

// The kinds of requests.
const (
	kindGet   = "get"
	kindPatch = "patch"
)

const (
	// noResponse is the status code of a request without a response.
	noResponse = "error"
	// terminating is the status code of a 403 that only shows that a namespace is being deleted.
	terminating = "terminating"
	// maxRejection bounds what is searched of a 403, in bytes.
	maxRejection = 64 << 10
)

type metrics struct {
	requests *prometheus.CounterVec
	failures *prometheus.CounterVec
	success  prometheus.Gauge
	http     *prometheus.CounterVec
}

// newMetrics returns metrics with all series from the start: the first increase of a series that begins with 1 is lost
// to Prometheus.
func newMetrics() metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bondkeeper_pod_requests_total", Help: "Successful requests about pods: patch, or get, to look for Multus's annotation.",
		}, []string{"kind"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bondkeeper_pod_request_failures_total", Help: "Failed requests about pods: API server unavailable, pod not_found, or patch rejected.",
		}, []string{"reason"}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bondkeeper_pod_last_success_timestamp_seconds", Help: "Unix time of the last successful request about a pod.",
		}),
		http: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bondkeeper_api_requests_total", Help: "HTTP requests to the API server, by method and status code; error if there was no response, terminating for a 403 because the namespace is being deleted.",
		}, []string{"method", "code"}),
	}
	for _, kind := range []string{kindGet, kindPatch} {
		m.requests.WithLabelValues(kind)
	}
	for _, class := range []errorClass{unavailable, notFound, rejected} {
		m.failures.WithLabelValues(string(class))
	}
	for _, method := range []string{http.MethodPatch, http.MethodPost} { // pods and events
		for _, code := range []string{"401", "403", noResponse} {
			m.http.WithLabelValues(method, code)
		}
	}
	return m
}

func (m *metrics) succeeded(kind string) {
	m.requests.WithLabelValues(kind).Inc()
	m.success.SetToCurrentTime()
}

func (m *metrics) failed(class errorClass) { m.failures.WithLabelValues(string(class)).Inc() }

// countRequests counts the requests that a transport sends, retries included. It leaves out the check whether the API
// server is ready, to which a cluster may give no right.
func (m *metrics) countRequests(to http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := to.RoundTrip(r)
		if r.Method == http.MethodGet {
			return response, err
		}
		code := noResponse
		switch {
		case err != nil:
		case response.StatusCode == http.StatusForbidden && namespaceEnds(response):
			code = terminating
		default:
			code = strconv.Itoa(response.StatusCode)
		}
		m.http.WithLabelValues(r.Method, code).Inc()
		return response, err
	})
}

// namespaceEnds reports whether a 403 is about an object in a namespace that is being deleted. The response can be read
// again.
func namespaceEnds(response *http.Response) bool {
	head, err := io.ReadAll(io.LimitReader(response.Body, maxRejection))
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), response.Body), response.Body}
	return err == nil && bytes.Contains(head, []byte(corev1.NamespaceTerminatingCause)) // as JSON or protobuf
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Register adds the reporter's metrics to those of the agent.
func (r *Reporter) Register(to prometheus.Registerer) error {
	pending := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bondkeeper_pods_pending", Help: "Pods whose status does not show the latest state of their bonds yet, without those whose changes are merged for up to 30 s.",
	}, func() float64 {
		return float64(r.countPods(func(p *podEntry) bool { return p.pending() && !time.Now().Before(p.mergeUntil) }))
	})
	return register(to, r.metrics.requests, r.metrics.failures, r.metrics.success, r.metrics.http, pending)
}

// PendingPods returns the number of pods whose latest state is not reported yet.
func (r *Reporter) PendingPods() int { return r.countPods((*podEntry).pending) }

func (p *podEntry) pending() bool { return p.version != p.reported }

func (r *Reporter) countPods(counts func(*podEntry) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pods {
		if counts(p) {
			n++
		}
	}
	return n
}

func register(to prometheus.Registerer, all ...prometheus.Collector) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, to.Register(c))
	}
	return errors.Join(errs...)
}
