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

// verifyCookie returns an error if the calling thread is in another netns than the sandbox's.
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

// ownCookie returns the cookie of the calling thread's netns, 0 if the kernel has none. Every socket reports it; this
// one is closed at once, so that it does not keep the netns alive.
func ownCookie() (uint64, error) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket to read the cookie: %w", err)
	}
	defer func() { _ = unix.Close(s) }()
	cookie, err := unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return 0, nil
	}
	return cookie, err
}
