package runtime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/bondkeeper/bondkeeper/pkg/runtime/runtimetest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// kinds are the ways to query the same runtime.
var kinds = []string{"containerd", "cri"}

func open(t *testing.T, endpoint string) Runtime {
	t.Helper()
	r, err := Open(endpoint)
	kit.Must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func fake(t *testing.T) *runtimetest.Fake {
	return runtimetest.NewFake(t, filepath.Join(t.TempDir(), "runtime.sock"))
}

func TestContractOnFake(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := fake(t)
			runtimetest.RunContract(t, f, func(t *testing.T) runtimetest.Runtime {
				r, err := Open(kind + "://" + f.Socket())
				kit.Must(t, err)
				return r
			})
		})
	}
}

// A sandbox without a container is one whose networks may still be added.
func TestPopulated(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := fake(t)
			r := open(t, kind+"://"+f.Socket())
			empty, full := f.Add(), f.Add()
			f.Populate(full)
			f.Populate(full)
			ids, err := r.Populated(t.Context())
			if err != nil || !slices.Equal(ids, []string{full}) {
				t.Errorf("populated: %v (%v), want only %s and not %s", ids, err, full, empty)
			}
			f.Break(runtimetest.Faults{NoSandboxField: true})
			if old, err := r.Populated(t.Context()); err != nil || !slices.Equal(old, []string{full}) {
				t.Errorf("populated, as before containerd 2.0: %v (%v)", old, err)
			}
			f.Break(runtimetest.Faults{Err: status.Error(codes.Internal, "broken")})
			if ids, err := r.Populated(t.Context()); err == nil {
				t.Errorf("a list that cannot be had is %v", ids)
			}
		})
	}
	if _, err := open(t, None).Populated(t.Context()); !errors.Is(err, ErrNone) {
		t.Errorf("without a runtime: %v", err)
	}
}

// TestSandboxOf: a container that names no sandbox must not count as one of no sandbox: pods would never be populated.
func TestSandboxOf(t *testing.T) {
	for name, extensions := range map[string]map[string]*anypb.Any{
		"no metadata":     nil,
		"other metadata":  {"other": &anypb.Any{Value: []byte(`{"Metadata":{"SandboxID":"s"}}`)}},
		"without sandbox": {criMetadata: &anypb.Any{Value: []byte(`{"Metadata":{}}`)}},
		"not JSON":        {criMetadata: &anypb.Any{Value: []byte("x")}},
	} {
		if id, err := sandboxOf(&containersapi.Container{ID: "c", Extensions: extensions}); err == nil {
			t.Errorf("%s: sandbox %q", name, id)
		}
	}
}

func TestOpenRejects(t *testing.T) {
	for endpoint, want := range map[string]string{
		"":                          "want auto, none, or a URL",
		"/run/crio/crio.sock":       `scheme "" is not known`,
		"docker:///run/docker.sock": `scheme "docker" is not known`,
		"cri://run/crio/crio.sock":  "want auto, none, or a URL",
		"containerd:run/containerd": "want auto, none, or a URL",
		"containerd:///run/\x7f":    "want auto, none, or a URL",
	} {
		if r, err := Open(endpoint); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", endpoint, r, err, want)
		}
	}
}

// TestNothingPartial: an incomplete list is not returned.
func TestNothingPartial(t *testing.T) {
	for _, tc := range []struct {
		kind   string
		faults runtimetest.Faults
	}{
		{"containerd", runtimetest.Faults{CutAfter: 1}},
		{"containerd", runtimetest.Faults{Err: status.Error(codes.Internal, "no")}},
		{"cri", runtimetest.Faults{Err: status.Error(codes.Unknown, "server is not initialized yet")}},
	} {
		f := fake(t)
		f.Add()
		f.Add()
		f.Break(tc.faults)
		ids, err := open(t, tc.kind+"://"+f.Socket()).Sandboxes(t.Context())
		if err == nil || !strings.Contains(err.Error(), f.Socket()) {
			t.Errorf("%s %+v: %q, %v; want an error that names the socket", tc.kind, tc.faults, ids, err)
		}
	}
}

// TestOlderContainerd has no sandbox store.
func TestOlderContainerd(t *testing.T) {
	f := fake(t)
	f.Break(runtimetest.Faults{NoStore: true})
	a := f.Add()
	if ids, err := open(t, "containerd://"+f.Socket()).Sandboxes(t.Context()); err != nil || !slices.Equal(ids, []string{a}) {
		t.Errorf("%q, %v; want the one", ids, err)
	}
}

// TestSandboxBeingMade: during CNI's ADD the sandbox exists, but has no container yet.
func TestSandboxBeingMade(t *testing.T) {
	f := fake(t)
	a, b := f.Add(), f.Begin()
	if ids, err := open(t, "containerd://"+f.Socket()).Sandboxes(t.Context()); err != nil || !slices.Equal(ids, []string{a, b}) {
		t.Errorf("%q, %v; want %s and %s", ids, err, a, b)
	}
}

func TestNone(t *testing.T) {
	r := open(t, None)
	if ids, err := r.Sandboxes(t.Context()); !errors.Is(err, ErrNone) {
		t.Errorf("%q, %v; want ErrNone", ids, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Events(ctx, func() { t.Error("woken by nothing") })
}

func TestAuto(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "1.sock"), filepath.Join(dir, "2.sock")
	r := newAuto([]string{"containerd://" + first, "cri://" + second})
	defer func() { _ = r.Close() }()
	if _, err := r.Sandboxes(t.Context()); err == nil || !strings.Contains(err.Error(), "found 0") || !strings.Contains(err.Error(), first) {
		t.Errorf("with no socket: %v", err)
	}
	a := runtimetest.NewFake(t, first)
	b := runtimetest.NewFake(t, second)
	if _, err := r.Sandboxes(t.Context()); err == nil || !strings.Contains(err.Error(), "found 2") {
		t.Errorf("with two: %v", err)
	}
	a.Kill()
	kit.Must(t, os.Remove(first))
	id := b.Add()
	if ids, err := r.Sandboxes(t.Context()); err != nil || !slices.Equal(ids, []string{id}) {
		t.Errorf("with one: %q, %v", ids, err)
	}
	a.Start()
	if ids, err := r.Sandboxes(t.Context()); err != nil || !slices.Equal(ids, []string{id}) {
		t.Errorf("a second one came later: %q, %v; want that it stays with the first", ids, err)
	}
}

func TestAutoEvents(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "1.sock")
	r := newAuto([]string{"cri://" + socket})
	defer func() { _ = r.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	woken := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Events(ctx, func() {
			select {
			case woken <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	runtimetest.NewFake(t, socket) // after the first query
	<-woken
	cancel()
	<-done
}

// TestFollowBacksOff: a runtime without events is asked for them once per minute; a lost stream is reopened
// immediately.
func TestFollowBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		n := 0
		resubscribe(ctx, func(context.Context) error { n++; return []error{nil, errors.New("no events here")}[n%2] })
		if n < 60 || n > 70 {
			t.Errorf("asked %d times in an hour", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		n := 0
		resubscribe(ctx, func(ctx context.Context) error {
			n++
			select {
			case <-time.After(2 * maxRetry):
			case <-ctx.Done():
			}
			return errors.New("it ended")
		})
		if n != 30 {
			t.Errorf("%d streams of two minutes in an hour, want 30", n)
		}
	})
}

// TestStopped is bounded and forgets the oldest.
func TestStopped(t *testing.T) {
	var s Stopped
	if s.Has("0") {
		t.Error("known before it stopped")
	}
	for i := range maxStopped + 1 {
		s.Add(strconv.Itoa(i))
		s.Add(strconv.Itoa(i))
	}
	if s.Has("0") || !s.Has("1") || !s.Has(strconv.Itoa(maxStopped)) || len(s.order) != maxStopped || len(s.ids) != maxStopped {
		t.Errorf("0: %t, 1: %t; %d and %d remembered", s.Has("0"), s.Has("1"), len(s.order), len(s.ids))
	}
}
