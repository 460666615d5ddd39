package metricsproxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/rest"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
	"github.com/bondkeeper/bondkeeper/pkg/connlimit"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// serve runs a proxy that accepts the token "good". Its API server does not exist.
func serve(t *testing.T, upstream, dir string) (url string) {
	t.Helper()
	p, err := New(Config{API: &rest.Config{Host: "127.0.0.1:1"}, Upstream: agent.Transport(upstream), CertDir: dir, Log: zap.NewNop()})
	kit.Must(t, err)
	p.auth.remember(sha256.Sum256([]byte("good")))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	kit.Must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "https://" + l.Addr().String() + path
}

// get returns the response's status and the server's certificate. Each call makes a connection.
func get(t *testing.T, url, authorization string) (status int, cert *x509.Certificate) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the test's own server
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	kit.Must(t, err)
	r.Header.Set("Authorization", authorization)
	res, err := (&http.Client{Transport: transport}).Do(r)
	kit.Must(t, err)
	kit.Must(t, res.Body.Close())
	return res.StatusCode, res.TLS.PeerCertificates[0]
}

// TestUpstreamGetsNoToken: the client's token is not passed on, and an agent that does not respond is a 502.
func TestUpstreamGetsNoToken(t *testing.T) {
	header := make(chan http.Header, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { header <- r.Header }))
	url := serve(t, upstream.Listener.Addr().String(), "")
	if status, _ := get(t, url, "bearer good"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if h := <-header; h.Get("Authorization") != "" {
		t.Errorf("the agent got %v", h)
	}
	upstream.Close()
	if status, _ := get(t, url, "Bearer good"); status != http.StatusBadGateway {
		t.Errorf("without an agent: status %d", status)
	}
}

// TestIdleClients: clients that together hold all connections do not keep others out.
func TestIdleClients(t *testing.T) {
	target := serve(t, "127.0.0.1:1", "")
	address := strings.TrimSuffix(strings.TrimPrefix(target, "https://"), path)
	for i := range connlimit.MaxConnections {
		other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i/maxPerClient))}}
		idle, err := other.DialContext(t.Context(), "tcp", address)
		kit.Must(t, err)
		t.Cleanup(func() { _ = idle.Close() })
	}
	start := time.Now()
	if status, _ := get(t, target, ""); status != http.StatusUnauthorized || time.Since(start) >= connlimit.ClientTimeout {
		t.Errorf("status %d after %s", status, time.Since(start))
	}
}

// TestNoReview: without a response of the API server, no token is accepted that was not accepted before.
func TestNoReview(t *testing.T) {
	url := serve(t, "127.0.0.1:1", "")
	for authorization, want := range map[string]int{
		"Bearer other": http.StatusServiceUnavailable, "": http.StatusUnauthorized, "Bearer ": http.StatusUnauthorized, "Basic good": http.StatusUnauthorized,
	} {
		if status, _ := get(t, url, authorization); status != want {
			t.Errorf("%q: status %d, want %d", authorization, status, want)
		}
	}
}

// TestCertificateIsReadAgain: each connection has the certificate that is in the directory then.
func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	url := serve(t, "127.0.0.1:1", dir)
	_, first := get(t, url, "")
	for range 2 {
		cert, err := selfSign()
		kit.Must(t, err)
		key, err := x509.MarshalECPrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
		kit.Must(t, err,
			os.WriteFile(filepath.Join(dir, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600),
			os.WriteFile(filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}), 0o600))
		if _, have := get(t, url, ""); !have.Equal(leaf(t, cert)) || have.Equal(first) {
			t.Error("the server has another certificate")
		}
	}
}

func leaf(t *testing.T, c *tls.Certificate) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(c.Certificate[0])
	kit.Must(t, err)
	return cert
}

// TestRemembered: a token is accepted for a limited time, and the number of remembered tokens is bounded.
func TestRemembered(t *testing.T) {
	a := &authorizer{allowed: map[[sha256.Size]byte]time.Time{}}
	for i := range 3 * maxAllowed {
		hash := sha256.Sum256(fmt.Append(nil, i))
		a.remember(hash)
		if !a.remembered(hash) || len(a.allowed) > maxAllowed {
			t.Fatalf("token %d of %d: remembered: %t", i, len(a.allowed), a.remembered(hash))
		}
	}
	old := sha256.Sum256([]byte("old"))
	a.allowed[old] = time.Now()
	if a.remembered(old) {
		t.Error("a token is accepted after its time")
	}
}
