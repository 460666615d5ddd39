package netns

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// boot is the ID of this boot. No process outlives a boot, so it is read once.
var boot = lasting[string]{read: func() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("ID of this boot: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}}

// verifyCookie returns an error if the calling thread is in another netns than the sandbox's. An open netns cannot become
// another one, so it is verified once.
func (ns *NS) verifyCookie() error {
	if ns.cookie == 0 || ns.verified.Load() {
		return nil
	}
	s, err := anySocket()
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", ns.path, err)
	}
	defer func() { _ = unix.Close(s) }()
	return ns.compareCookie(s)
}

// compareCookie returns an error if a socket is in another netns than the sandbox's.
func (ns *NS) compareCookie(socket int) error {
	if ns.cookie == 0 || ns.verified.Load() {
		return nil
	}
	found, err := cookieOf(socket)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", ns.path, err)
	}
	if found != ns.cookie && found != 0 {
		return fmt.Errorf("%w: %s leads to the one with cookie %d now, it was %d", ErrGone, ns.path, found, ns.cookie)
	}
	ns.verified.Store(true)
	return nil
}

// ownCookie returns the cookie of the calling thread's netns.
func ownCookie() (uint64, error) {
	s, err := anySocket()
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(s) }()
	return cookieOf(s)
}

// anySocket opens a socket to read the cookie. It must be closed at once, so that it does not keep the netns alive.
func anySocket() (int, error) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open a socket to read the cookie: %w", err)
	}
	return s, nil
}

// cookieOf returns the cookie of a socket's netns, 0 if the kernel has none. Every socket reports it.
func cookieOf(socket int) (uint64, error) {
	cookie, err := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return 0, nil
	}
	return cookie, err
}
