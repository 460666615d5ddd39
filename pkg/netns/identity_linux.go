package netns

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// boot is the ID of this boot. No process outlives a boot, so it is read once.
var boot = sync.OnceValues(func() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("ID of this boot: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
})

// verifyCookie reports whether the calling thread is in the netns that was asked for.
func (ns *NS) verifyCookie() error {
	if ns.cookie == 0 {
		return nil
	}
	found, err := ownCookie()
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", ns.path, err)
	}
	if found != ns.cookie && found != 0 {
		return fmt.Errorf("%w: %s leads to the one with cookie %d now, it was %d", ErrGone, ns.path, found, ns.cookie)
	}
	return nil
}

// ownCookie is the cookie of the calling thread's netns, 0 where the kernel has none. Every
// socket knows it; this one is closed before anything can be kept alive by it.
func ownCookie() (uint64, error) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket to ask for the cookie: %w", err)
	}
	defer func() { _ = unix.Close(s) }()
	cookie, err := unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return 0, nil
	}
	return cookie, err
}
