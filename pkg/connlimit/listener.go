package connlimit

import (
	"net"
	"slices"
	"sync"
)

// Listener returns l with a bound on the accepted connections that are open. One more closes the oldest. A listener that
// accepts no more until one is closed would let a client without any rights keep all others out.
func Listener(l net.Listener, most int) net.Listener { return &listener{Listener: l, most: most} }

type listener struct {
	net.Listener
	most int
	mu   sync.Mutex
	open []*conn // the oldest first
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, listener: l}
	if oldest := l.add(c); oldest != nil {
		_ = oldest.Close()
	}
	return c, nil
}

// add returns the connection to close; nil if there is none.
func (l *listener) add(c *conn) (oldest *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open = append(l.open, c); len(l.open) > l.most {
		return l.open[0]
	}
	return nil
}

func (l *listener) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = slices.DeleteFunc(l.open, func(other *conn) bool { return other == c })
}

// conn is an accepted connection.
type conn struct {
	net.Conn
	listener *listener
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.listener.remove(c)
	return c.Conn.Close()
}
