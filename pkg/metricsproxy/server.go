package metricsproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"
	"k8s.io/client-go/rest"

	"github.com/bondkeeper/bondkeeper/pkg/connlimit"
)

// path is the only path that is served, and the non-resource URL that a client must have the right to get.
const path = "/metrics"

// maxPerClient bounds the connections of one client.
const maxPerClient = 16

// Config configures a Proxy; API, Upstream and Log are required.
type Config struct {
	// API configures access to the API server, with the right to create TokenReviews and SubjectAccessReviews.
	API *rest.Config
	// Upstream connects to the agent.
	Upstream http.RoundTripper
	// CertDir may contain tls.crt and tls.key. If it does not, the certificate is self-signed.
	CertDir string
	Log     *zap.Logger
}

// Proxy is an HTTPS server for the metrics of one agent.
type Proxy struct {
	auth     *authorizer
	upstream http.Handler
	certs    *certificates
	log      *zap.Logger
	// failing: the last review got no response from the API server.
	failing atomic.Bool
}

// New returns a Proxy.
func New(c Config) (*Proxy, error) {
	auth, err := newAuthorizer(c.API)
	if err != nil {
		return nil, err
	}
	certs, err := newCertificates(c.CertDir)
	if err != nil {
		return nil, err
	}
	upstream := &httputil.ReverseProxy{
		Transport: c.Upstream,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "agent"})
			r.Out.Header.Del("Authorization")
		},
		ErrorLog: zap.NewStdLog(zap.NewNop()),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "the agent does not respond", http.StatusBadGateway)
		},
	}
	return &Proxy{auth: auth, upstream: upstream, certs: certs, log: c.Log}, nil
}

// Serve serves at l until ctx ends, and then returns nil.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET "+path, p)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // unless the client has a valid token
		mux.ServeHTTP(w, r)
	})
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	server := connlimit.Server(handler)
	server.Protocols, server.TLSConfig = protocols, &tls.Config{GetCertificate: p.certs.get, MinVersion: tls.VersionTLS12}
	server.ErrorLog = zap.NewStdLog(zap.NewNop()) // failed handshakes of any client
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ServeTLS(connlimit.Listener(&clientListener{Listener: l, open: map[netip.Prefix]int{}}, connlimit.MaxConnections), "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics at %s: %w", l.Addr(), err)
	}
	return nil
}

// ServeHTTP responds with the agent's metrics, or with 401 without a valid token, 403 without the right, and 503 if the
// API server does not respond.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := p.auth.authorize(r.Context(), bearerToken(r))
	switch {
	case err == nil:
		w.Header().Del("Connection")
		p.upstream.ServeHTTP(w, r)
	case errors.Is(err, errUnauthorized):
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "a valid bearer token is required", http.StatusUnauthorized)
	case errors.Is(err, errForbidden):
		http.Error(w, "the token's user has no right to get "+path, http.StatusForbidden)
	default:
		http.Error(w, "the API server cannot review the token", http.StatusServiceUnavailable)
	}
	p.logReviews(err)
}

// logReviews logs when reviews begin to fail, and when they work again.
func (p *Proxy) logReviews(err error) {
	fails := err != nil && !errors.Is(err, errUnauthorized) && !errors.Is(err, errForbidden) && !errors.Is(err, context.Canceled)
	if p.failing.Swap(fails) == fails {
		return
	}
	if fails {
		p.log.Error("API server cannot review tokens; metrics are not served", zap.Error(err))
	} else {
		p.log.Info("API server reviews tokens again")
	}
}

// bearerToken returns the token of the Authorization header; empty if there is none.
func bearerToken(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
