package ipam

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// running is read-locked while a plugin runs: its end is for os/exec. pluginEnded has a value after one has ended.
var (
	running     sync.RWMutex
	pluginEnded = make(chan struct{}, 1)
)

// runPlugin calls run, which starts a plugin and waits for its end.
func runPlugin(run func() error) error {
	running.RLock()
	err := run()
	running.RUnlock()
	select {
	case pluginEnded <- struct{}{}:
	default:
	}
	return err
}

// ReapOrphans removes ended processes that plugins left, until ctx ends. It is for process 1 of a container, whose
// children they become, and which starts no other processes than plugins. While a plugin runs, nothing is removed.
func ReapOrphans(ctx context.Context) {
	child := make(chan os.Signal, 1)
	signal.Notify(child, syscall.SIGCHLD)
	defer signal.Stop(child)
	for {
		reap()
		select {
		case <-ctx.Done():
			return
		case <-child:
		case <-pluginEnded: // the signal of its end may have come too early
		}
	}
}

func reap() {
	if !running.TryLock() {
		return
	}
	defer running.Unlock()
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}
