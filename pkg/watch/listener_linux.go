package watch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// retryPeriod is how long something that cannot be opened or listed is left alone.
const retryPeriod = time.Second

// listener reads events and hands out the keys that they concern. It belongs to one goroutine.
type listener struct {
	hub  *Hub
	sink Sink
	// told is what a PF's last event said: its ifindex and its up and carrier flags.
	told map[bond.PCIAddress]uint64
}

func newListener(h *Hub, sink Sink) *listener {
	return &listener{hub: h, sink: sink, told: map[bond.PCIAddress]uint64{}}
}

// run reads s until ctx ends. After any error it starts over with a new socket: the kernel
// says only once that it dropped messages, and is silent about those that it drops until the old
// socket has been read empty (netlink_overrun in net/netlink/af_netlink.c).
func (l *listener) run(ctx context.Context, s *socket) {
	for s != nil {
		err := l.read(ctx, s)
		if ctx.Err() != nil {
			return
		}
		l.hub.loss.Store(&loss{err})
		l.hub.overruns.Add(1)
		if s = l.reopen(ctx); s != nil {
			l.hub.reopens.Add(1)
			clear(l.told)
			select {
			case l.hub.relist <- CauseOverrun:
			default:
			}
		}
	}
}

// reopen tries until it has a socket; nil when ctx ended first.
func (l *listener) reopen(ctx context.Context) *socket {
	for reported := false; ; reported = true {
		s, err := l.hub.openSocket(l.hub.cfg.ReceiveBuffer)
		if err == nil {
			return s
		}
		if !reported {
			l.hub.cfg.Problem(fmt.Errorf("watch: no events until the socket can be opened, only resyncs: %w", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryPeriod):
		}
	}
}

// read hands out the keys of what arrives on s until an error or the end of ctx, and closes s.
func (l *listener) read(ctx context.Context, s *socket) error {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = s.close() // wakes receive; nobody is interested in the socket any more
	})
	defer func() {
		if !stop() {
			<-closed
			return
		}
		_ = s.close() // it is given up for its error already
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

// sampled is how many of the messages that an overrun leaves in the buffer are read to find out who sent them.
const sampled = 1000

// source says, for the log, where most of the messages in a buffer that overran come from. They are dropped.
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
	if keys := l.hub.index.Load().sandboxes[most]; most == noNSID {
		name = "the host's netns"
	} else if len(keys) > 0 {
		name = "the pod of bond " + keys[0].String()
	}
	return fmt.Sprintf("%d of %d events in the full buffer come from %s", from[most], total, name)
}
