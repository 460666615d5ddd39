package watch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/virtiopci"
)

// retryPeriod is the pause before something that could not be opened or listed is tried again.
const retryPeriod = time.Second

// listener reads events and enqueues the keys that they concern. It is used by one goroutine.
type listener struct {
	monitor *Monitor
	sink    Sink
	// pfState has the up and carrier flags of each of a PF's links, by ifindex, from its last event.
	pfState map[bond.PCIAddress]map[int32]uint32
	// function returns the PCI function of a virtio device.
	function func(device string) bond.PCIAddress
}

func newListener(m *Monitor, sink Sink) *listener {
	return &listener{monitor: m, sink: sink, pfState: map[bond.PCIAddress]map[int32]uint32{}, function: virtiopci.Function}
}

// run reads s until ctx ends. After any error it opens a new socket: the kernel reports only once that it dropped
// messages, and goes on dropping them until the old socket has been read empty (netlink_overrun in
// net/netlink/af_netlink.c).
func (l *listener) run(ctx context.Context, s *socket) {
	for s != nil {
		err := l.read(ctx, s)
		if ctx.Err() != nil {
			return
		}
		l.monitor.lastOverrun.Store(&overrunError{err})
		l.monitor.overruns.Add(1)
		if s = l.reopen(ctx); s != nil {
			l.monitor.reopens.Add(1)
			l.monitor.missed.Add(1) // those since the error
			clear(l.pfState)
			select {
			case l.monitor.relist <- CauseOverrun:
			default:
			}
		}
	}
}

// reopen tries until it has a socket. It returns nil if ctx ended first.
func (l *listener) reopen(ctx context.Context) *socket {
	for reported := false; ; reported = true {
		s, err := l.monitor.openSocket(l.monitor.cfg.ReceiveBuffer)
		if err == nil {
			return s
		}
		if !reported {
			l.monitor.cfg.OnError(fmt.Errorf("watch: no events until the socket can be opened, only resyncs: %w", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryPeriod):
		}
	}
}

// read enqueues the keys for what arrives on s until an error or the end of ctx, and closes s.
func (l *listener) read(ctx context.Context, s *socket) error {
	s.failed = func() { l.monitor.missed.Add(1) }
	l.monitor.socket.Store(s)
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = s.close() // wakes receive
	})
	defer func() {
		if !stop() {
			<-closed
			return
		}
		_ = s.close() // it has failed already
	}()
	for {
		data, nsid, err := s.receive()
		if errors.Is(err, unix.ENOBUFS) {
			return fmt.Errorf("%w; %s", err, l.source(s))
		}
		if err != nil {
			return err
		}
		l.dispatch(data, nsid)
	}
}

// sampled is how many of the messages that an overrun leaves in the buffer are read to find their senders.
const sampled = 1000

// source describes, for the log, where most messages in the buffer came from at an overrun. They are dropped.
func (l *listener) source(s *socket) string {
	from, total, most := map[int32]int{}, 0, noNSID
	for total < sampled {
		data, nsid, err := s.receiveNow()
		if err != nil {
			break // there were fewer
		}
		if len(data) == 0 {
			continue
		}
		total++
		if from[nsid]++; from[nsid] > from[most] {
			most = nsid
		}
	}
	name := fmt.Sprintf("the netns with ID %d, which has no bond of ours", most)
	if keys := l.monitor.index.Load().sandboxes[most]; most == noNSID {
		name = "the host's netns"
	} else if len(keys) > 0 {
		name = "the pod of bond " + keys[0].String()
	}
	return fmt.Sprintf("%d of %d events in the full buffer come from %s", from[most], total, name)
}
