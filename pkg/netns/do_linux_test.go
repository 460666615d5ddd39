package netns_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
)

// The main goroutine stays on the main thread: Go parks that thread for ever instead of destroying it, which the test
// of lost threads would count as a leak.
func init() { runtime.LockOSThread() }

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }

// setMTU marks the calling thread's netns by the MTU of its loopback interface.
func setMTU(mtu uint32) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }()
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint32(mtu)
	return unix.IoctlIfreq(s, unix.SIOCSIFMTU, req)
}

// expect reports whether the calling thread is in the netns id, by its links and by its identity.
func expect(id netns.ID, mtu int) error {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	now, err := netns.Current()
	if err != nil {
		return err
	}
	defer func() { _ = now.Close() }()
	if lo.MTU != mtu || now.ID() != id {
		return fmt.Errorf("in %s with MTU %d, want %s and %d", now.ID(), lo.MTU, id, mtu)
	}
	return nil
}

func TestDoSwitches(t *testing.T) {
	ns := open(t, netnstest.New(t))
	home, err := netns.Identify("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	host, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err = ns.Do(func() error { return setMTU(1234) }); err != nil {
		t.Fatal(err)
	}
	if err = ns.Do(func() error { return expect(ns.ID(), 1234) }); err != nil {
		t.Error(err)
	}
	if err = expect(home, host.MTU); err != nil {
		t.Errorf("outside: %v", err)
	}
	var link []byte
	err = ns.Do(func() (err error) {
		link, err = exec.Command("readlink", "/proc/self/ns/net").Output()
		return err
	})
	if want := fmt.Sprintf("net:[%d]\n", ns.ID().Inode); err != nil || string(link) != want {
		t.Errorf("a process started inside is in %q (%v), want %q", link, err, want)
	}
	err = ns.Do(func() error {
		done := make(chan error)
		go func() { done <- expect(home, host.MTU) }()
		return <-done
	})
	if err != nil {
		t.Errorf("a goroutine started inside: %v", err)
	}
}

func TestDoReturnsErrors(t *testing.T) {
	ns := open(t, netnstest.New(t))
	own := errors.New("own")
	if err := ns.Do(func() error { return own }); !errors.Is(err, own) {
		t.Errorf("got %v, want the function's error", err)
	}
	if err := ns.Do(func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("a function that ended its goroutine passed for one that succeeded")
	}
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ns.Do(func() error { t.Error("ran"); return nil }); err == nil || !contains(err, ns.Path()) {
		t.Errorf("closed: got %v, want an error that names %s", err, ns.Path())
	}
}

func TestDoNests(t *testing.T) {
	a, b := open(t, netnstest.New(t)), open(t, netnstest.New(t))
	err := errors.Join(
		a.Do(func() error { return setMTU(1111) }),
		b.Do(func() error { return setMTU(2222) }),
		a.Do(func() error {
			return errors.Join(
				b.Do(func() error { return expect(b.ID(), 2222) }),
				expect(a.ID(), 1111))
		}))
	if err != nil {
		t.Error(err)
	}
}

// TestDoConcurrently uses two netns and the host on more goroutines than there are threads.
func TestDoConcurrently(t *testing.T) {
	const goroutines, rounds = 64, 50
	spaces := []*netns.NS{open(t, netnstest.New(t)), open(t, netnstest.New(t))}
	home, err := netns.Identify("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	host, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for i, ns := range spaces {
		if err := ns.Do(func() error { return setMTU(uint32(2000 + i)) }); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for r := range rounds {
				i := (g + r) % len(spaces)
				if err := spaces[i].Do(func() error { return expect(spaces[i].ID(), 2000+i) }); err != nil {
					t.Errorf("inside: %v", err)
				}
				if err := expect(home, host.MTU); err != nil {
					t.Errorf("outside: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// TestThreadThatCannotReturn removes the right to use setns from one thread, so that it cannot return. The thread must
// end and not be used again.
func TestThreadThatCannotReturn(t *testing.T) {
	ns := open(t, netnstest.New(t))
	home, err := netns.Identify("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var tid int
	err = ns.Do(func() error {
		tid = unix.Gettid()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		return unix.Capset(&header, &none[0])
	})
	if !errors.Is(err, unix.EPERM) || !contains(err, ns.Path()) {
		t.Fatalf("got %v, want EPERM from the way back, with the path", err)
	}
	task := fmt.Sprintf("/proc/self/task/%d", tid)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(task); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("thread %d still lives, in the wrong netns", tid)
		}
	}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if now, err := netns.Current(); err != nil || now.ID() != home {
				t.Errorf("a goroutine runs in %v (%v), want %s", now, err, home)
			} else {
				_ = now.Close()
			}
		})
	}
	wg.Wait()
}

// TestDoLeaksNothing: no descriptors, threads or netns.
func TestDoLeaksNothing(t *testing.T) {
	ns := open(t, netnstest.New(t))
	count := func(dir string) int {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	run := func() {
		for range 200 {
			if err := ns.Do(func() error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	run() // let the runtime create the threads that it keeps
	fds, threads := count("/proc/self/fd"), count("/proc/self/task")
	run()
	if now := count("/proc/self/fd"); now > fds {
		t.Errorf("%d descriptors, %d before", now, fds)
	}
	if now := count("/proc/self/task"); now > threads+2 {
		t.Errorf("%d threads, %d before", now, threads)
	}
}

func BenchmarkDo(b *testing.B) {
	sandbox, err := netns.SandboxAt(netnstest.New(b))
	if err != nil {
		b.Fatal(err)
	}
	ns, err := netns.OpenSandbox(sandbox)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	b.ReportAllocs()
	for b.Loop() {
		if err := ns.Do(func() error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenSandbox(b *testing.B) {
	sandbox, err := netns.SandboxAt(netnstest.New(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		ns, err := netns.OpenSandbox(sandbox)
		if err != nil {
			b.Fatal(err)
		}
		_ = ns.Close()
	}
}
