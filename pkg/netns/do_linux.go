package netns

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// errNoReturn: fn ended its goroutine (runtime.Goexit).
var errNoReturn = errors.New("the function ended its goroutine instead of returning")

// Do runs fn in the netns and returns fn's error, or why the netns could not be entered.
// fn runs on a goroutine and a thread of its own; the caller's are not changed, and Do
// returns after fn has. fn must watch its own context.
// If a netns opened by OpenSandbox does not have the sandbox's cookie, fn does not run and the error matches ErrGone.
//
// In the netns are sockets that fn opens, files under /proc/thread-self/net, and processes that it starts. Goroutines
// that fn starts are not.
func (ns *NS) Do(fn func() error) error {
	return ns.inside(func() error {
		if err := ns.verifyCookie(); err != nil {
			return err
		}
		return fn()
	})
}

// OpenSocket is Do for a function that opens a socket and returns its descriptor. This socket then shows the netns's
// cookie, for which Do opens another one. If it is not the sandbox's, the error matches ErrGone; the caller closes the
// socket.
func (ns *NS) OpenSocket(open func() (fd int, err error)) error {
	return ns.inside(func() error {
		fd, err := open()
		if err != nil {
			return err
		}
		return ns.compareCookie(fd)
	})
}

// inside runs fn in the netns, on a goroutine of its own.
func (ns *NS) inside(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errNoReturn
		defer func() { done <- err }()
		err = ns.onThread(fn)
	}()
	return <-done
}

// home is the netns of this process, to which threads return. It stays open: the process itself is in it.
var home = lasting[*NS]{read: Current}

// onThread runs fn on this goroutine's thread, which enters the netns and leaves it again.
func (ns *NS) onThread(fn func() error) (err error) {
	runtime.LockOSThread()
	home, err := home.get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	if err = unix.Setns(ns.Fd(), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", ns.path, err)
	}
	defer func() {
		// A thread that cannot return stays locked: Go then destroys it with the goroutine
		// (runtime.LockOSThread), and nothing else runs on it in the wrong netns.
		if back := unix.Setns(home.Fd(), unix.CLONE_NEWNET); back != nil {
			err = errors.Join(err, fmt.Errorf("leave network namespace %s: %w", ns.path, back))
			return
		}
		runtime.UnlockOSThread()
	}()
	return fn()
}
