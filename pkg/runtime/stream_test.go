package runtime

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestMovedStream: the server ends the first connection before it has processed the stream, and gRPC opens the stream
// on the next one by itself. What happened meanwhile was missed, so there must be a second wake.
func TestMovedStream(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := fake(t)
			socket := filepath.Join(t.TempDir(), "proxy.sock")
			l, err := net.Listen("unix", socket)
			kit.Must(t, err)
			t.Cleanup(func() { _ = l.Close() })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			opened, isOpen := context.WithCancel(ctx)
			defer isOpen()
			sent := make(chan error, 1)
			go proxy(l, f.Socket(), opened.Done(), sent)

			r := open(t, kind+"://"+socket)
			wakes := 0
			r.Events(ctx, func() {
				switch wakes++; wakes {
				case 1:
					isOpen()
				case 2:
					cancel()
				}
			})
			kit.Must(t, <-sent)
			if wakes != 2 {
				t.Errorf("woken %d times, want 2: when the stream was opened, and when it was opened again", wakes)
			}
		})
	}
}

// proxy answers the first stream of the first connection with GOAWAY, and relays the other connections. It waits until
// the client has opened the stream: one that moves while it is being opened ends without a wake, and needs none.
func proxy(l net.Listener, server string, opened <-chan struct{}, sent chan<- error) {
	for first := true; ; first = false {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if first {
			sent <- writeGOAWAY(c, opened)
			continue
		}
		go relay(c, server)
	}
}

func writeGOAWAY(c net.Conn, opened <-chan struct{}) error {
	defer func() { _ = c.Close() }()
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	h := http2.NewFramer(c, c)
	if err := h.WriteSettings(); err != nil {
		return err
	}
	for {
		frame, err := h.ReadFrame()
		if err != nil {
			return err
		}
		if frame.Header().Type == http2.FrameHeaders {
			<-opened
			return h.WriteGoAway(0, http2.ErrCodeNo, nil)
		}
	}
}

func relay(c net.Conn, server string) {
	defer func() { _ = c.Close() }()
	s, err := net.Dial("unix", server)
	if err != nil {
		return
	}
	defer func() { _ = s.Close() }()
	go func() { _, _ = io.Copy(s, c); _ = s.Close() }()
	_, _ = io.Copy(c, s)
}
