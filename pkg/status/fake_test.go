package status_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// server is an API server behind a transport, for tests in virtual time. It has pods by name, applies patches as the
// real one does, and accepts events.
type server struct {
	t testing.TB

	mu     sync.Mutex
	pods   map[string]*corev1.Pod
	calls  []call
	events []*corev1.Event
	// fault may return a response or an error instead of the server. It may be nil.
	fault func(*http.Request) (*http.Response, error)
	// delay is the time until each response.
	delay time.Duration
}

// call is a request about a pod.
type call struct {
	at    time.Time
	pod   string
	check bool
	ok    bool
}

func newServer(t testing.TB) *server { return &server{t: t, pods: map[string]*corev1.Pod{}} }

func (s *server) config() *rest.Config { return &rest.Config{Host: "http://api", Transport: s} }

// add makes a pod with Multus's annotation.
func (s *server) add(p bond.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[p.String()] = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID), Annotations: map[string]string{status.NetworkStatus: "[]"},
	}}
}

// edit changes a pod as another client.
func (s *server) edit(p bond.Pod, change func(*corev1.Pod)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.pods[p.String()])
}

func (s *server) pod(p bond.Pod) *corev1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods[p.String()].DeepCopy()
}

// reported returns the bonds in the pod's annotation.
func (s *server) reported(p bond.Pod) []v1.Bond {
	s.t.Helper()
	return decode(s.t, s.pod(p))
}

func decode(t testing.TB, pod *corev1.Pod) []v1.Bond {
	t.Helper()
	text := pod.Annotations[v1.Annotation]
	if text == "" {
		return nil
	}
	var list []v1.Bond
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("the annotation is not JSON: %v: %s", err, text)
	}
	return list
}

func (s *server) fail(f func(*http.Request) (*http.Response, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// count returns the number of checks and patches since the last count.
func (s *server) count() (checks, patches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if c.check {
			checks++
		} else {
			patches++
		}
	}
	s.calls = nil
	return checks, patches
}

// log returns the requests about pods since the last count.
func (s *server) log() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]call(nil), s.calls...)
}

func (s *server) reasons() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, e := range s.events {
		all = append(all, e.Reason)
	}
	return all
}

// RoundTrip implements http.RoundTripper.
func (s *server) RoundTrip(q *http.Request) (*http.Response, error) {
	var body []byte
	if q.Body != nil {
		var err error
		if body, err = io.ReadAll(q.Body); err != nil {
			return nil, err
		}
	}
	if s.delay > 0 {
		select {
		case <-q.Context().Done():
			return nil, q.Context().Err()
		case <-time.After(s.delay):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	part := strings.Split(strings.Trim(q.URL.Path, "/"), "/") // api v1 namespaces NS pods NAME status
	isPod := q.Method == http.MethodPatch && len(part) == 7 && part[6] == "status"
	c := call{at: time.Now()}
	if isPod {
		c.pod, c.check = part[3]+"/"+part[5], !bytes.Contains(body, []byte(v1.Annotation))
	}
	response, err := s.respond(q, isPod, c.pod, body)
	if isPod {
		c.ok = err == nil && response.StatusCode == http.StatusOK
		s.calls = append(s.calls, c)
	}
	return response, err
}

// CancelRequest is called by client-go if a request takes too long; its context has ended as well.
func (s *server) CancelRequest(*http.Request) {}

func (s *server) respond(q *http.Request, isPod bool, pod string, body []byte) (*http.Response, error) {
	if s.fault != nil {
		if response, err := s.fault(q); response != nil || err != nil {
			return response, err
		}
	}
	switch {
	case q.Method == http.MethodGet && q.URL.Path == "/readyz":
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}}, Request: q,
			Body: io.NopCloser(strings.NewReader("ok")),
		}, nil
	case isPod:
		return s.patch(q, pod, body), nil
	case q.Method == http.MethodPost && strings.HasSuffix(q.URL.Path, "/events"):
		e := new(corev1.Event)
		if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, e); err != nil {
			s.t.Errorf("an event that cannot be decoded: %v", err)
		}
		s.events = append(s.events, e)
		return reply(q, http.StatusCreated, e), nil
	case q.Method == http.MethodPatch && strings.Contains(q.URL.Path, "/events/"): // a repeated event
		for _, e := range s.events {
			if strings.HasSuffix(q.URL.Path, "/"+e.Name) {
				s.events = append(s.events, e)
				return reply(q, http.StatusOK, e), nil
			}
		}
		return reply(q, http.StatusNotFound, failure(http.StatusNotFound, metav1.StatusReasonNotFound)), nil
	default:
		s.t.Errorf("unexpected request %s %s", q.Method, q.URL.Path)
		return reply(q, http.StatusMethodNotAllowed, failure(405, "MethodNotAllowed")), nil
	}
}

func (s *server) patch(q *http.Request, name string, body []byte) *http.Response {
	old := s.pods[name]
	if old == nil {
		f := failure(http.StatusNotFound, metav1.StatusReasonNotFound)
		f.Details = &metav1.StatusDetails{Name: name, Kind: "pods"}
		return reply(q, http.StatusNotFound, f)
	}
	original, err := json.Marshal(old)
	if err != nil {
		s.t.Fatal(err)
	}
	merged, err := strategicpatch.StrategicMergePatch(original, body, corev1.Pod{})
	changed := new(corev1.Pod)
	if err != nil || json.Unmarshal(merged, changed) != nil {
		s.t.Errorf("a patch that cannot be applied: %v: %s", err, body)
	}
	if changed.UID != old.UID {
		f := failure(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
		f.Details = &metav1.StatusDetails{Name: name, Kind: "Pod", Causes: []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueInvalid, Field: "metadata.uid"}}}
		return reply(q, http.StatusUnprocessableEntity, f)
	}
	s.pods[name] = changed
	return reply(q, http.StatusOK, changed)
}

func failure(code int32, reason metav1.StatusReason) *metav1.Status {
	return &metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: "test: " + string(reason)}
}

func reply(q *http.Request, code int, object any) *http.Response {
	switch o := object.(type) {
	case *corev1.Pod:
		o.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	case *corev1.Event:
		o.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}
	case *metav1.Status:
		o.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	}
	data, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Request: q,
		Body: io.NopCloser(bytes.NewReader(data)), ContentLength: int64(len(data)),
	}
}

// podN returns the pod with that number, on the node under test.
func podN(n int) bond.Pod {
	return bond.Pod{Namespace: "demo", Name: fmt.Sprintf("p%d", n), UID: fmt.Sprintf("00000000-0000-0000-0000-%012d", n)}
}

// bondOf returns a bond of a pod, with two members that carry.
func bondOf(p bond.Pod, ifName string) bond.Status {
	s := sample()
	s.Pod, s.Network = p, "bond-net"
	s.Key = bond.Key{ContainerID: "c" + p.UID, IfName: ifName}
	return s
}

// lose returns the bond after its first member was lost.
func lose(s bond.Status) bond.Status {
	s.State, s.Reason, s.Active = bond.StateDegraded, "net1 (0000:01:10.0) is in neither the pod nor the host", "net2"
	s.Losses = []string{"mfrwe2lt"}
	s.Members = []bond.MemberStatus{
		{Name: "net1", PCI: "0000:01:10.0", State: "lost", Reason: s.Reason, Since: time.Now().UTC()},
		{Name: "net2", PCI: "0000:02:10.0", State: "active"},
	}
	return s
}

// down returns the bond without a member that carries.
func down(s bond.Status) bond.Status {
	s = lose(s)
	s.State, s.Reason, s.Active = bond.StateDown, "no member carries", ""
	s.Members[1].State = "no carrier"
	return s
}

// repaired returns the bond after its lost member came back.
func repaired(s bond.Status) bond.Status {
	repairs := s.Repairs + 1
	s = bondOf(s.Pod, s.Key.IfName)
	s.Repairs = repairs
	s.Last = &bond.Repair{ID: "mfrwe2lt", Member: "net1", Cause: "MemberInHost", At: time.Now().UTC(), Took: 412}
	return s
}
