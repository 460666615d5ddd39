package runtime

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/runtime/runtimetest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// crio serves a CRI-O and returns a client of it.
func crio(t *testing.T, kind runtimetest.CRIO) (*runtimetest.Fake, Runtime) {
	t.Helper()
	f := runtimetest.NewCRIO(t, filepath.Join(t.TempDir(), "crio.sock"), kind)
	return f, open(t, "cri://"+f.Socket())
}

// TestContractOnCRIO needs its events: without them a client can only poll.
func TestContractOnCRIO(t *testing.T) {
	f, _ := crio(t, runtimetest.CRIO{PodEvents: true})
	runtimetest.RunContract(t, f, func(t *testing.T) runtimetest.Runtime {
		r, err := Open("cri://" + f.Socket())
		kit.Must(t, err)
		return r
	})
}

// TestCRIOWithoutEvents: a stream that ends at once is opened again after ever longer pauses. Each opening wakes, for the
// agent polls then. A sandbox is listed until it is removed.
func TestCRIOWithoutEvents(t *testing.T) {
	t.Parallel()
	f, r := crio(t, runtimetest.CRIO{})
	ctx, cancel := context.WithCancel(t.Context())
	var wakes atomic.Int64
	began, ended := time.Now(), make(chan struct{})
	go func() {
		defer close(ended)
		r.Events(ctx, func() { wakes.Add(1) })
	}()
	kit.Eventually(t, "the third stream of events", func() bool { return f.Streams() == 3 && wakes.Load() == 3 })
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("three streams within %s, want pauses of 1 s and 2 s between them", took)
	}
	cancel()
	<-ended
	ctx, cancel = context.WithTimeout(t.Context(), minRetry/2)
	defer cancel()
	before := f.Streams()
	r.Stops(ctx, func(id string) { t.Errorf("%s was reported as stopped", id) })
	if n := f.Streams() - before; n != 1 {
		t.Errorf("Stops opened %d streams at once", n)
	}

	a, b := f.Add(), f.Add()
	f.Stop(a)
	wantSandboxes(t, r, a, b)
	f.Remove(a)
	wantSandboxes(t, r, b)
}

// TestCRIOAway: while it is away for 25 s, as during an update, each query fails soon and names the socket. Afterwards
// the list is complete, with the sandbox that is not ready, and there is a wake for what was missed.
func TestCRIOAway(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel()
	f, r := crio(t, runtimetest.CRIO{PodEvents: true})
	a, b := f.Add(), f.Add()
	f.Stop(a)
	woken := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	defer func() { cancel(); <-ended }()
	go func() {
		defer close(ended)
		r.Events(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	<-woken
	f.Kill()
	tick, back := time.NewTicker(time.Second), time.After(25*time.Second)
	defer tick.Stop()
	for down := true; down; {
		query, done := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if ids, err := r.Sandboxes(query); err == nil || !strings.Contains(err.Error(), f.Socket()) {
			t.Errorf("while it is away: %q, %v", ids, err)
		}
		done()
		select {
		case <-tick.C:
		case <-back:
			down = false
		}
	}
	select {
	case <-woken:
		t.Error("woken while it was away")
	default:
	}
	f.Remove(b)
	f.Start()
	began := time.Now()
	kit.Eventually(t, "an answer", func() bool { _, err := r.Sandboxes(t.Context()); return err == nil })
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the first answer came %s after it was back", took)
	}
	wantSandboxes(t, r, a)
	<-woken
}

// wantSandboxes checks the next list.
func wantSandboxes(t *testing.T, r Runtime, want ...string) {
	t.Helper()
	if ids, err := r.Sandboxes(t.Context()); err != nil || !slices.Equal(ids, want) {
		t.Errorf("sandboxes %q, %v; want %q", ids, err, want)
	}
}
