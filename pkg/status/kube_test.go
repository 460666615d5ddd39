//go:build kube

package status_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
	"github.com/bondkeeper/bondkeeper/test/kube"
)

// The tests behind the build tag kube run the reporter against a real API server, with the rights that the manifests
// give an agent.

var cp *kube.ControlPlane

func TestMain(m *testing.M) { os.Exit(kube.Main(m, &cp)) }

var install sync.Once

// agent returns a reporter's configuration with the rights of an agent on node, and a meter of what it sends.
func agent(t testing.TB, node string) (status.Config, *meter) {
	t.Helper()
	install.Do(func() { cp.InstallRights(t) })
	m := new(meter)
	cfg := cp.AgentConfig(t, node)
	cfg.Wrap(m.wrap)
	return status.Config{
		API: cfg, Node: node, Dir: filepath.Join(t.TempDir(), "reported"),
		Rate: 50, Window: 100 * time.Millisecond, LastWindow: 200 * time.Millisecond,
	}, m
}

// podOn makes a pod on a node, with Multus's annotation.
func podOn(t testing.TB, name, node string) bond.Pod {
	t.Helper()
	p := podWithoutNetworks(t, name, node)
	networks(t, p)
	return p
}

func podWithoutNetworks(t testing.TB, name, node string) bond.Pod {
	t.Helper()
	cp.Node(t, node)
	made := cp.Pod(t, namespace(t), name, node)
	return bond.Pod{Namespace: made.Namespace, Name: made.Name, UID: string(made.UID)}
}

// networks writes what Multus writes when a pod's networks are up.
func networks(t testing.TB, p bond.Pod) {
	t.Helper()
	edit(t, p, map[string]any{"metadata": map[string]any{"annotations": map[string]string{status.NetworkStatus: `[{"name":"bond-net"}]`}}})
}

// edit changes a pod as an administrator.
func edit(t testing.TB, p bond.Pod, change any) {
	t.Helper()
	data, err := json.Marshal(change)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cp.Client().CoreV1().Pods(p.Namespace).Patch(t.Context(), p.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func namespace(t testing.TB) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == '_' || r == ' ' {
			return '-'
		}
		return r
	}, strings.ToLower(t.Name()))
}

func get(t testing.TB, p bond.Pod) *corev1.Pod {
	t.Helper()
	pod, err := cp.Client().CoreV1().Pods(p.Namespace).Get(t.Context(), p.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// testTimeout is how long the slowest step may take: client-go reads a token's file once per minute, and the reporter's
// pause is up to a minute and a half.
const testTimeout = 3 * time.Minute

// await polls a condition that another process fulfils.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick, end := time.NewTicker(20*time.Millisecond), time.After(testTimeout)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %s: %s", testTimeout, what)
		}
	}
}

// awaitReported waits until the pod has that number of repairs of its only bond, and nothing is left to report.
func awaitReported(t testing.TB, r *status.Reporter, p bond.Pod, repairs int) {
	t.Helper()
	await(t, fmt.Sprintf("%s has %d repairs", p, repairs), func() bool {
		list := decode(t, get(t, p))
		return len(list) == 1 && list[0].Repairs == repairs && r.PendingPods() == 0
	})
}

// meter counts what goes over the wire, in requests and bytes of bodies.
type meter struct {
	mu sync.Mutex
	tally
}

type tally struct {
	checks, patches, events, other int // that succeeded
	failed                         map[int]int
	sent, got                      int
}

// take returns what was counted since the last take.
func (m *meter) take() tally {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tally
	m.tally = tally{}
	return t
}

// status returns how many responses had the code so far; 0 means no response.
func (m *meter) status(code int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed[code]
}

func (m *meter) wrap(next http.RoundTripper) http.RoundTripper { return &metered{m, next} }

type metered struct {
	m    *meter
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (r *metered) RoundTrip(q *http.Request) (*http.Response, error) {
	var body []byte
	var err error
	if q.Body != nil {
		if body, err = io.ReadAll(q.Body); err != nil {
			return nil, err
		}
		q.Body = io.NopCloser(bytes.NewReader(body))
	}
	response, err := r.next.RoundTrip(q)
	var got []byte
	code := 0
	if err == nil {
		if got, err = io.ReadAll(response.Body); err == nil {
			code = response.StatusCode
		}
		_ = response.Body.Close()
		response.Body = io.NopCloser(bytes.NewReader(got))
	}
	if err != nil {
		response = nil
	}
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	r.m.sent += len(body)
	r.m.got += len(got)
	switch {
	case code < 200 || code > 299:
		if r.m.failed == nil {
			r.m.failed = map[int]int{}
		}
		r.m.failed[code]++
	case strings.Contains(q.URL.Path, "/events"):
		r.m.events++
	case !strings.HasSuffix(q.URL.Path, "/status"):
		r.m.other++
	case bytes.Contains(body, []byte(v1.Annotation)):
		r.m.patches++
	default:
		r.m.checks++
	}
	return response, err
}

// WrappedRoundTripper lets client-go find the transport under this one.
func (r *metered) WrappedRoundTripper() http.RoundTripper { return r.next }

func (t tally) String() string {
	return fmt.Sprintf("%d checks, %d patches, %d events, %d others, failures %v; %d bytes sent, %d received", t.checks, t.patches, t.events, t.other, t.failed, t.sent, t.got)
}

// want checks how many requests of each kind succeeded.
func (t tally) want(tb testing.TB, checks, patches, events int) {
	tb.Helper()
	if t.checks != checks || t.patches != patches || t.events != events || t.other != 0 {
		tb.Errorf("%s; want %d checks, %d patches, %d events", t, checks, patches, events)
	}
}

// withToken gives the agent its token in a file, as in a pod.
func withToken(t testing.TB, c *rest.Config) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(c.BearerToken), 0o600); err != nil {
		t.Fatal(err)
	}
	c.BearerToken, c.BearerTokenFile = "", path
	return path
}
