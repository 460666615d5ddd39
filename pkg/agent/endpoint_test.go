package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/connlimit"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// served serves h at addr until the returned function is called.
func served(t *testing.T, h *Health, addr string, log *zap.Logger) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); h.Serve(ctx, addr, log) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// page returns what the agent serves, or the error.
func page(t *testing.T, addr, name string) string {
	t.Helper()
	text, err := Get(t.Context(), addr, name)
	if err != nil {
		return err.Error()
	}
	return text
}

// TestTakenPort: another program has the port of the metrics. The agent is live all the same, by the socket of its own
// pod, and reports the port there and in the log until it is free.
func TestTakenPort(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	kit.Must(t, err)
	addr, socket := other.Addr().String(), "unix:"+filepath.Join(t.TempDir(), "agent.sock")
	core, logs := observer.New(zap.InfoLevel)
	h := NewHealth()
	served(t, h, addr, zap.New(core))
	served(t, h, socket, zap.New(core))
	kit.Eventually(t, "the report of the port", func() bool { return strings.Contains(page(t, socket, "listenz"), addr+": listen tcp") })
	if got := page(t, socket, "healthz"); got != "ok" {
		t.Errorf("the agent is not live: %s", got)
	}
	kit.Must(t, other.Close())
	kit.Eventually(t, "the port to be served", func() bool { return page(t, addr, "healthz") == "ok" })
	if got := page(t, socket, "listenz"); got != "ok" {
		t.Errorf("the port is reported as taken: %s", got)
	}
	if all := logs.AllUntimed(); len(all) != 2 || all[0].Level != zap.WarnLevel || all[1].Level != zap.InfoLevel {
		t.Errorf("log: %+v", all)
	}
}

// TestSocketOfAKilledAgent: a socket that no process serves is replaced, one that is served is not.
func TestSocketOfAKilledAgent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	killed, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	kit.Must(t, err)
	killed.SetUnlinkOnClose(false)
	if _, err = listen(t.Context(), unixPrefix+path); err == nil || !strings.Contains(err.Error(), "another process serves") {
		t.Errorf("a served socket was taken: %v", err)
	}
	kit.Must(t, killed.Close())
	stop := served(t, NewHealth(), unixPrefix+path, zap.NewNop())
	kit.Eventually(t, "the socket to be served", func() bool { return page(t, unixPrefix+path, "healthz") == "ok" })
	info, err := os.Stat(path)
	kit.Must(t, err)
	if info.Mode().Perm() != 0o666 {
		t.Errorf("the proxy's user cannot connect: %s", info.Mode())
	}
	stop()
	if got := page(t, unixPrefix+path, "healthz"); !strings.Contains(got, "does not respond") {
		t.Errorf("without an agent: %s", got)
	}
}

// TestOtherFilesAreNotReplaced: --probe-listen may name another file by mistake.
func TestOtherFilesAreNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	kit.Must(t, os.WriteFile(path, []byte("data"), 0o600))
	if _, err := listen(t.Context(), unixPrefix+path); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "data" {
		t.Errorf("the file has %q (%v)", text, err)
	}
}

// TestFailureOfAListenerIsLoggedHourly: a log that is rotated has it again; not each attempt is logged.
func TestFailureOfAListenerIsLoggedHourly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		var l listeners
		for range 2 * 60 * 60 {
			l.report("127.0.0.1:1", os.ErrExist, zap.New(core))
			<-time.After(listenRetry)
		}
		if logs.Len() != 2 {
			t.Errorf("%d lines in two hours", logs.Len())
		}
	})
}

// TestListenWaits: an address in use is waited for.
func TestListenWaits(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	kit.Must(t, err)
	core, logs := observer.New(zap.InfoLevel)
	got := make(chan error, 1)
	go func() {
		l, failed := Listen(t.Context(), other.Addr().String(), zap.New(core))
		if failed == nil {
			failed = l.Close()
		}
		got <- failed
	}()
	kit.Eventually(t, "the report", func() bool { return logs.Len() > 0 })
	kit.Must(t, other.Close(), <-got)
	if _, err = Listen(t.Context(), "nonsense", zap.NewNop()); err == nil {
		t.Error("an address without a port is accepted")
	}
}

// TestIdleClientsOfProbes: clients that hold connections cost a bounded number of them, and do not keep a probe out.
func TestIdleClientsOfProbes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	served(t, NewHealth(), "unix:"+path, zap.NewNop())
	kit.Eventually(t, "the agent to be live", func() bool { return page(t, "unix:"+path, "healthz") == "ok" })
	var idle []net.Conn
	for len(idle) <= connlimit.MaxConnections {
		c, err := net.Dial("unix", path)
		kit.Must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		idle = append(idle, c)
	}
	kit.Must(t, idle[0].SetReadDeadline(time.Now().Add(connlimit.ClientTimeout/2)))
	if _, err := idle[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the oldest of %d connections: %v, want its end", len(idle), err)
	}
	if got := page(t, "unix:"+path, "healthz"); got != "ok" {
		t.Errorf("a probe beside idle clients: %s", got)
	}
}
