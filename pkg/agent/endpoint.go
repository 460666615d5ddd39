package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/connlimit"
)

// unixPrefix begins the address of a unix socket; its path follows. Other addresses are those of TCP.
const unixPrefix = "unix:"

const (
	// listenRetry is the pause between two attempts to listen at an address, for example one that the previous agent
	// has until it has ended.
	listenRetry = time.Second
	// listenRepeat is how often an address that cannot be served is logged.
	listenRepeat = time.Hour
)

// Serve serves h at addr until ctx ends; an empty addr serves nothing. While it cannot listen it logs that and tries
// again: repair does not depend on it.
func (h *Health) Serve(ctx context.Context, addr string, log *zap.Logger) {
	for addr != "" {
		l, err := listen(ctx, addr)
		if err == nil {
			h.listeners.report(addr, nil, log)
			err = serve(ctx, l, h)
		}
		if ctx.Err() != nil {
			return
		}
		h.listeners.report(addr, err, log)
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenRetry):
		}
	}
}

// Listen listens at an address of TCP. While it is in use or not configured, which may change, Listen logs that and tries
// again until ctx ends.
func Listen(ctx context.Context, addr string, log *zap.Logger) (net.Listener, error) {
	var failed listeners
	for {
		l, err := listen(ctx, addr)
		if err != nil && !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return nil, err
		}
		if failed.report(addr, err, log); err == nil {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(listenRetry):
		}
	}
}

// serve bounds what clients can occupy: any process in the host's netns can connect.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := connlimit.Server(h)
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	return server.Serve(connlimit.Listener(l, connlimit.MaxConnections))
}

// listen replaces a unix socket that no process serves: a killed agent leaves one.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var config net.ListenConfig
	path, isUnix := strings.CutPrefix(addr, unixPrefix)
	if !isUnix {
		return config.Listen(ctx, "tcp", addr)
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		return nil, errors.Join(fmt.Errorf("another process serves %s", path), conn.Close())
	}
	if errors.Is(err, syscall.ECONNREFUSED) { // a file that is no socket refuses connections, too
		if info, unread := os.Lstat(path); unread == nil && info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%s is not a socket (%s)", path, info.Mode())
		}
		if err = os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	// The proxy of the metrics has another user. Its directory decides who can reach the socket.
	if err = os.Chmod(path, 0o666); err != nil { //nolint:gosec // as above
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// listeners are the addresses that cannot be served. It is safe for concurrent use; its zero value is empty.
type listeners struct {
	mu     sync.Mutex
	failed map[string]listenFailure
}

type listenFailure struct {
	err    error
	logged time.Time
}

// report records whether an address is served. It logs changes, and a lasting failure from time to time.
func (l *listeners) report(addr string, err error, log *zap.Logger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, failedBefore := l.failed[addr]
	if err == nil {
		if failedBefore {
			log.Info("address is served again", zap.String("address", addr))
		}
		delete(l.failed, addr)
		return
	}
	if f.err = err; !failedBefore || time.Since(f.logged) >= listenRepeat {
		f.logged = time.Now()
		log.Warn("cannot serve address; repair continues", zap.String("address", addr), zap.Error(err))
	}
	if l.failed == nil {
		l.failed = map[string]listenFailure{}
	}
	l.failed[addr] = f
}

// err returns the failures of all addresses; nil if all are served.
func (l *listeners) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, addr := range slices.Sorted(maps.Keys(l.failed)) {
		errs = append(errs, fmt.Errorf("cannot serve %s: %w", addr, l.failed[addr].err))
	}
	return errors.Join(errs...)
}

// Transport returns what connects to an agent's address for probes and metrics, whatever the URL's host is.
func Transport(addr string) *http.Transport {
	network, path := "tcp", addr
	if socket, isUnix := strings.CutPrefix(addr, unixPrefix); isUnix {
		network, path = "unix", socket
	}
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, path)
	}}
}

// maxPage bounds what Get reads of a page, in bytes.
const maxPage = 64 << 10

// Get returns the text of a page that the agent at addr serves, such as healthz. A status other than 200 is an error
// with that text.
func Get(ctx context.Context, addr, page string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/"+page, nil)
	if err != nil {
		return "", err
	}
	resp, err := Transport(addr).RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("the agent at %s does not respond: %w", addr, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return "", fmt.Errorf("the agent at %s: %w", addr, err)
	}
	text := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, text)
	}
	return text, nil
}
