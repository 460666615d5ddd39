package connlimit

import (
	"io"
	"net"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestOldestIsClosed: one connection too many closes the oldest that is open, and no other.
func TestOldestIsClosed(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	kit.Must(t, err)
	l := Listener(inner, 2)
	t.Cleanup(func() { _ = l.Close() })
	connect := func() (client, server net.Conn) {
		client, err := net.Dial("tcp", l.Addr().String())
		kit.Must(t, err)
		server, err = l.Accept()
		kit.Must(t, err)
		t.Cleanup(func() { _, _ = client.Close(), server.Close() })
		return client, server
	}
	works := func(client, server net.Conn) {
		t.Helper()
		_, err := server.Write([]byte("x"))
		kit.Must(t, err)
		_, err = io.ReadFull(client, make([]byte, 1))
		kit.Must(t, err)
	}
	_, ended := connect()
	first, server1 := connect()
	kit.Must(t, ended.Close())
	second, server2 := connect() // it is the second that is open
	works(first, server1)
	third, server3 := connect()
	if _, err := first.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // the same error
		t.Errorf("the oldest connection: %v, want its end", err)
	}
	works(second, server2)
	works(third, server3)
}
