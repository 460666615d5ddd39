package netns

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// errNoReturn is what Do answers when fn ended its goroutine (runtime.Goexit).
var errNoReturn = errors.New("the function ended its goroutine instead of returning")

// Do runs fn in the netns and returns fn's error, or why the netns could not be entered.
// fn runs on a goroutine and a thread of its own; the caller's are not changed, and Do
// returns after fn has. There is nothing to cancel here: fn has to watch its own context.
// A netns that was opened by OpenSandbox and has another cookie than was asked for is not
// the one: fn does not run and the error matches ErrGone.
//
// Only what fn does itself is in the netns: sockets that it opens, files under
// /proc/thread-self/net, processes that it starts. A goroutine that fn starts is not.
func (ns *NS) Do(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errNoReturn
		defer func() { done <- err }()
		err = ns.onThread(fn)
	}()
	return <-done
}

// onThread runs fn on this goroutine's thread, taken into the netns and back.
func (ns *NS) onThread(fn func() error) (err error) {
	runtime.LockOSThread()
	home, err := Current()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() { _ = home.Close() }()
	if err = unix.Setns(ns.Fd(), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", ns.path, err)
	}
	defer func() {
		// A thread that cannot go back stays locked: Go then destroys it with the goroutine
		// (runtime.LockOSThread) and nothing else ever runs on it in the wrong netns.
		if back := unix.Setns(home.Fd(), unix.CLONE_NEWNET); back != nil {
			err = errors.Join(err, fmt.Errorf("leave network namespace %s: %w", ns.path, back))
			return
		}
		runtime.UnlockOSThread()
	}()
	if err = ns.verifyCookie(); err != nil {
		return err
	}
	return fn()
}
