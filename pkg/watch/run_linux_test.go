package watch

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// descriptors returns the number of open files of this process, and the netns among them. Its own netns is left out:
// package netns keeps it open, from the first use on.
func descriptors(t *testing.T) (n int, netns []string) {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/net")
	kit.Must(t, err)
	entries, err := os.ReadDir("/proc/self/fd")
	kit.Must(t, err)
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil || to == own { // without a target is the one that read the directory
			continue
		}
		n++
		if strings.HasPrefix(to, "net:") {
			netns = append(netns, to)
		}
	}
	return n, netns
}

// goroutines returns the stacks of those that run this package's or fsnotify's code, without the caller.
//
// One whose last instruction closes the channel that Run waits for may still exist, so others run first.
func goroutines() (stacks []string) {
	buf := make([]byte, 1<<20)
	for range 100 {
		stacks = nil
		for i, s := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if i > 0 && (strings.Contains(s, "pkg/watch.(") || strings.Contains(s, "fsnotify")) {
				stacks = append(stacks, s)
			}
		}
		if len(stacks) == 0 {
			break
		}
		runtime.Gosched()
	}
	return stacks
}

// TestRunLeavesNothing: Run holds no pod's netns, and after it has returned nothing is left.
func TestRunLeavesNothing(t *testing.T) {
	r, sink := newRecords(t), newSink()
	var pods []*bond.Record
	for _, id := range []string{"a", "b", "c"} {
		pods = append(pods, pod(t, id))
		r.put(t, pods[len(pods)-1])
	}
	before, _ := descriptors(t)
	for range 3 {
		h, err := New(r.config(t))
		kit.Must(t, err)
		stop := runMonitor(t, h, sink)
		for _, p := range pods {
			sink.until(t, p.Key, CauseStart)
		}
		for _, p := range pods {
			mark(t, p)
			sink.until(t, p.Key, "link changed")
		}
		if _, held := descriptors(t); len(held) > 0 {
			t.Errorf("open while running: %v", held)
		}
		stop()
		if left := goroutines(); len(left) > 0 {
			t.Errorf("goroutines are left:\n%s", strings.Join(left, "\n\n"))
		}
	}
	if after, _ := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}

// TestSocketFails: a broken socket is replaced; if none can be opened, it is tried again.
func TestSocketFails(t *testing.T) {
	w := pod(t, "pod")
	r, sink := newRecords(t), newSink()
	r.put(t, w)
	opened := make(chan *socket, 8)
	tries := 0
	h := start(t, r, sink, func(h *Monitor) {
		h.openSocket = func(size int) (*socket, error) {
			if tries++; tries == 2 {
				return nil, unix.EMFILE
			}
			s, err := openSocket(size)
			opened <- s
			return s, err
		}
	})
	if err := (<-opened).close(); err != nil { // without the Monitor
		t.Fatal(err)
	}
	sink.until(t, w.Key, CauseOverrun)
	if s := h.Stats(); s.Overruns != 1 || s.Reopens != 1 {
		t.Errorf("counted %+v", s)
	}
	sink.drain()
	mark(t, w)
	sink.until(t, w.Key, "link changed")
}

// TestEndsWithoutSocket: the end of ctx ends Run also while no socket can be opened.
func TestEndsWithoutSocket(t *testing.T) {
	r, sink := newRecords(t), newSink()
	tried := make(chan struct{})
	first := make(chan *socket, 1)
	n := 0
	start(t, r, sink, func(h *Monitor) {
		h.openSocket = func(size int) (*socket, error) {
			if n++; n == 1 {
				s, err := openSocket(size)
				first <- s
				return s, err
			}
			if n == 2 {
				close(tried)
			}
			return nil, unix.EMFILE
		}
	})
	kit.Must(t, (<-first).close())
	<-tried
	// start's cleanup ends the context and fails the test if Run does not return.
}

// TestMissingCapability: without CAP_NET_BROADCAST Run returns an error that names it.
func TestMissingCapability(t *testing.T) {
	if os.Geteuid() != 0 { // the child, see below
		h, err := New(Config{Dir: "/", KeyOf: func(string) (bond.Key, bool) { return bond.Key{}, false }, List: func() ([]*bond.Record, error) { return nil, nil }})
		kit.Must(t, err)
		err = h.Run(t.Context(), newSink())
		if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_BROADCAST") {
			t.Errorf("Run: %v", err)
		}
		return
	}
	// The test's binary is in a directory that only its owner can read, so the child gets it as an open file.
	self, err := os.Open("/proc/self/exe")
	kit.Must(t, err)
	defer func() { _ = self.Close() }()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", "-test.run=^TestMissingCapability$", "-test.v")
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr, cmd.Dir = []*os.File{self}, &out, &out, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Run(); err != nil || !strings.Contains(out.String(), "--- PASS: TestMissingCapability") {
		t.Errorf("without rights: %v\n%s", err, out.String())
	}
}
