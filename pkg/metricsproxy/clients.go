package metricsproxy

import (
	"net"
	"net/netip"
	"sync"
)

// clientListener closes new connections of a client that has maxPerClient already, so that one client leaves the others
// some of connlimit.MaxConnections.
type clientListener struct {
	net.Listener
	mu   sync.Mutex
	open map[netip.Prefix]int
}

// Accept implements net.Listener.
func (l *clientListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := clientOf(conn.RemoteAddr())
		if l.add(client) {
			return &clientConn{Conn: conn, closed: sync.OnceFunc(func() { l.remove(client) })}, nil
		}
		_ = conn.Close()
	}
}

func (l *clientListener) add(client netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[client] >= maxPerClient {
		return false
	}
	l.open[client]++
	return true
}

func (l *clientListener) remove(client netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[client]--; l.open[client] == 0 {
		delete(l.open, client)
	}
}

// clientConn is a connection that is counted until it is closed.
type clientConn struct {
	net.Conn
	closed func()
}

// Close implements net.Conn.
func (c *clientConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

// clientOf returns the addresses that count as one client: of IPv6 a /64, in which a host can choose its address. Other
// addresses than those of TCP are one client.
func clientOf(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	client, _ := ip.Prefix(bits) // only the zero address has no prefix
	return client
}
