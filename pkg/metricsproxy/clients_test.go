package metricsproxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/bondkeeper/bondkeeper/pkg/connlimit"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestOneClientOccupiesNotAll: one client opens more connections than the proxy has, and sends nothing. Another client
// gets the metrics meanwhile. The first can connect again when its connections have ended.
func TestOneClientOccupiesNotAll(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer upstream.Close()
	url := serve(t, upstream.Listener.Addr().String(), "")
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "https://"), path)
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	var open []net.Conn
	for range connlimit.MaxConnections + 1 {
		c, err := other.DialContext(t.Context(), "tcp", addr)
		kit.Must(t, err)
		open = append(open, c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), connlimit.ClientTimeout/2) // the proxy ends silent connections after all of it
	defer cancel()
	if status, err := request(ctx, url, net.Dialer{}); status != http.StatusOK {
		t.Errorf("status %d, %v", status, err)
	}
	for _, c := range open {
		kit.Must(t, c.Close())
	}
	kit.Eventually(t, "the first client's connection", func() bool {
		status, _ := request(t.Context(), url, other)
		return status == http.StatusOK
	}, func() string { return "refused" })
}

func request(ctx context.Context, url string, from net.Dialer) (status int, err error) {
	transport := &http.Transport{DialContext: from.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the test's own server
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer good")
	res, err := transport.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// TestRejectedClientsAreDisconnected: only clients with a valid token have a connection that stays open.
func TestRejectedClientsAreDisconnected(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer upstream.Close()
	url := serve(t, upstream.Listener.Addr().String(), "")
	for _, c := range []struct {
		page, authorization string
		closed              bool
	}{
		{url, "Bearer good", false}, {url, "Bearer other", true}, {url, "", true}, {url + "/other", "Bearer good", true},
	} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the test's own server
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.page, nil)
		kit.Must(t, err)
		r.Header.Set("Authorization", c.authorization)
		res, err := transport.RoundTrip(r)
		kit.Must(t, err)
		if kit.Must(t, res.Body.Close()); res.Close != c.closed {
			t.Errorf("%s with %q: %s, closed: %t", c.page, c.authorization, res.Status, res.Close)
		}
		transport.CloseIdleConnections()
	}
}

// TestClientOf: a client is an address of IPv4, or a /64 of IPv6, in which a host can choose its address.
func TestClientOf(t *testing.T) {
	for addr, want := range map[string]string{
		"10.0.0.7:1": "10.0.0.7/32", "[::ffff:10.0.0.7]:1": "10.0.0.7/32", "[fd00:0:0:1::7]:1": "fd00:0:0:1::/64", "[fe80::1%lo]:1": "fe80::/64",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		kit.Must(t, err)
		if got := clientOf(tcp).String(); got != want {
			t.Errorf("%s is of client %s, want %s", addr, got, want)
		}
	}
}

// TestKnownTokenDoesNotWait: other clients flood the proxy with invalid tokens. A token that was accepted before is
// reviewed at once, until it is rejected.
func TestKnownTokenDoesNotWait(t *testing.T) {
	valid := true
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		review := `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","status":{"allowed":true}}`
		if strings.HasSuffix(r.URL.Path, "/tokenreviews") {
			review = fmt.Sprintf(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":%t}}`, valid)
		}
		_, _ = io.WriteString(w, review)
	}))
	defer api.Close()
	a, err := newAuthorizer(&rest.Config{Host: api.URL})
	kit.Must(t, err)
	a.limiter = flowcontrol.NewTokenBucketRateLimiter(1e-6, 1)
	kit.Must(t, a.authorize(t.Context(), "first")) // it waits for nothing, and the next new token does
	a.allowed[sha256.Sum256([]byte("first"))] = time.Now().Add(-time.Minute)
	kit.Must(t, a.authorize(t.Context(), "first"))
	a.allowed[sha256.Sum256([]byte("first"))] = time.Now().Add(-time.Minute)
	valid = false
	if err := a.authorize(t.Context(), "first"); !errors.Is(err, errUnauthorized) {
		t.Errorf("revoked: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, token := range []string{"first", "second"} {
		if err := a.authorize(ctx, token); err == nil || errors.Is(err, errUnauthorized) {
			t.Errorf("token %s was reviewed: %v", token, err)
		}
	}
}
