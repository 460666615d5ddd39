package kube

import (
	"fmt"
	"net"
	"strconv"

	"golang.org/x/sys/unix"
)

// loopback is the address of all servers. In a guest of the lab with a user network it is GuestHost.
var loopback = net.IPv4(127, 0, 0, 1)

// port is a TCP port of the loopback that stays reserved until release, whether a server listens on it or not: the
// servers share it (SO_REUSEPORT) with the socket that is bound here and never listens.
type port struct{ number, fd int }

// reserve reserves a free port.
func reserve() (port, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return port{}, fmt.Errorf("kube: reserve a port: %w", err)
	}
	number, err := bind(fd)
	if err != nil {
		_ = unix.Close(fd)
		return port{}, fmt.Errorf("kube: reserve a port of the loopback: %w", err)
	}
	return port{number, fd}, nil
}

// bind binds a socket to a free port of the loopback that other sockets of this user may bind, too.
func bind(fd int) (int, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte(loopback.To4())}); err != nil {
		return 0, err
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return addr.(*unix.SockaddrInet4).Port, nil
}

// release frees the port.
func (p port) release() { _ = unix.Close(p.fd) }

// url is the address of a server on the port.
func (p port) url(scheme string) string {
	return scheme + "://" + net.JoinHostPort(loopback.String(), p.String())
}

// String is the port's number.
func (p port) String() string { return strconv.Itoa(p.number) }
