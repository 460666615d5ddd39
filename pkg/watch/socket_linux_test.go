package watch

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func open(t *testing.T) *socket {
	t.Helper()
	s, err := openSocket(defaultReceiveBuffer)
	kit.Must(t, err)
	t.Cleanup(func() { _ = s.close() })
	return s
}

// until reads up to a message that matches, and drops the others.
func (s *socket) until(t *testing.T, what string, matches func(message) bool) {
	t.Helper()
	kit.Must(t, s.file.SetReadDeadline(time.Now().Add(testTimeout)))
	for {
		data, _, err := s.receive()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for m, rest, ok := next(data); ok; m, rest, ok = next(rest) {
			if matches(m) {
				return
			}
		}
	}
}

// TestTruncated: an event that does not fit into the buffer is not used.
func TestTruncated(t *testing.T) {
	s := open(t)
	s.vector.SetLen(64)
	noise(t, 1)
	if data, _, err := s.receive(); !errors.Is(err, errTruncated) {
		t.Errorf("received %d bytes, error %v", len(data), err)
	}
}

// TestForged: what another process sends to the socket is ignored.
func TestForged(t *testing.T) {
	s := open(t)
	var to unix.Sockaddr
	var err error
	if e := s.conn.Control(func(fd uintptr) { to, err = unix.Getsockname(int(fd)) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	from, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	kit.Must(t, err)
	defer func() { _ = unix.Close(from) }()
	kit.Must(t, unix.Sendto(from, linkMsg(unix.RTM_NEWLINK, 4, 0, ""), 0, to))
	if data, _, err := s.receive(); len(data) > 0 || err != nil {
		t.Errorf("received %d bytes, error %v", len(data), err)
	}
	noise(t, 1)
	if data, nsid, err := s.receive(); len(data) == 0 || nsid != noNSID || err != nil {
		t.Errorf("received %d bytes from netns %d, error %v, of the kernel", len(data), nsid, err)
	}
}

// TestReopened: after an error the earlier states of PFs do not count.
func TestReopened(t *testing.T) {
	l, _ := listenTo(t, indexOf(nil))
	l.pfState["0000:01:00.0"] = map[int32]uint32{2: 0}
	ctx, cancel := context.WithCancel(t.Context())
	l.monitor.openSocket = func(int) (*socket, error) {
		cancel()
		return open(t), nil
	}
	broken := open(t)
	kit.Must(t, broken.close())
	l.run(ctx, broken)
	if len(l.pfState) > 0 {
		t.Errorf("still known: %v", l.pfState)
	}
	if cause := <-l.monitor.relist; cause != CauseOverrun {
		t.Errorf("cause %q", cause)
	}
}

// TestAssign: an ID is assigned once, and one that another process assigned is used.
func TestAssign(t *testing.T) {
	ids, err := openNSIDs()
	kit.Must(t, err)
	defer ids.close()
	s := sandbox(t)
	first, err := ids.assign(s)
	if err != nil || first == noNSID {
		t.Fatalf("ID %d, error %v", first, err)
	}
	if again, err := ids.assign(s); again != first || err != nil {
		t.Errorf("ID %d the second time, %d the first, error %v", again, first, err)
	}
	if other, err := ids.assign(sandbox(t)); other == first || err != nil {
		t.Errorf("another netns got ID %d, the first has %d, error %v", other, first, err)
	}
	if id, err := ids.assign(bond.Sandbox{Path: s.Path, Dev: s.Dev, Inode: s.Inode + 1}); id != noNSID || err == nil {
		t.Errorf("another netns got ID %d, error %v", id, err)
	}
}
