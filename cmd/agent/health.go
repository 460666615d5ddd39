package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// defaultListen is the address of probes and metrics. The agent is in the host's network namespace: only the node itself
// can connect to it.
const defaultListen = "127.0.0.1:9719"

// probe is one thing that must hold. Its check is called by several goroutines at once, must not block, and
// returns what is wrong, or nil.
type probe struct {
	name  string
	check func() error
}

// newHealthHandler serves /healthz (live: a restart would help where one fails), /readyz (ready: bonds are being
// kept) and /metrics. The first two answer 200 and "ok", or 503 and a line for each probe that fails. metrics may be nil.
func newHealthHandler(live, ready []probe, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", probeHandler(live))
	mux.Handle("GET /readyz", probeHandler(ready))
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	return mux
}

func probeHandler(probes []probe) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var wrong strings.Builder
		for _, p := range probes {
			if err := p.check(); err != nil {
				fmt.Fprintf(&wrong, "%s: %v\n", p.name, err)
			}
		}
		if wrong.Len() > 0 {
			http.Error(w, wrong.String(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

// stalled answers a check for a piece of work that must go on: it fails once due has been true at every call, and
// done the same, for longer than limit. done counts the pieces that were finished; due reports whether there is
// any to do. The check only looks when it is asked; a kubelet asks every few seconds.
func stalled(limit time.Duration, done func() uint64, pending func() bool) func() error {
	var mu sync.Mutex
	count, since := done(), time.Now()
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		now := done()
		if now != count || !pending() {
			count, since = now, time.Now()
			return nil
		}
		if idle := time.Since(since); idle > limit {
			return fmt.Errorf("nothing was finished for %s", idle.Round(time.Second))
		}
		return nil
	}
}

// listenRetry is the pause between two attempts to listen at an address that is taken, as it is for as long as the
// agent that ran before has not ended.
const listenRetry = time.Second

// serveHealth answers at addr until ctx ends, and then returns nil. An address that is taken is tried again: bonds
// are kept all the same. problem is told of that, once. An empty addr serves nothing.
func serveHealth(ctx context.Context, addr string, h http.Handler, onError func(error)) error {
	if addr == "" {
		<-ctx.Done()
		return nil
	}
	l, err := listen(ctx, addr, onError)
	if err != nil {
		return nil //nolint:nilerr // only the end of ctx ends the attempts
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve probes at %s: %w", addr, err)
	}
	return nil
}

func listen(ctx context.Context, addr string, onError func(error)) (net.Listener, error) {
	var config net.ListenConfig
	for reported := false; ; reported = true {
		l, err := config.Listen(ctx, "tcp", addr)
		if err == nil {
			return l, nil
		}
		if !reported && ctx.Err() == nil {
			onError(fmt.Errorf("probes and metrics are unavailable until %s is free: %w", addr, err))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(listenRetry):
		}
	}
}
