package watch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// Monitor turns events into keys. Make one with New.
type Monitor struct {
	cfg Config
	// index is written by the recordWatcher and read by the listener.
	index atomic.Pointer[index]
	// socket is the listener's; nil before it listens.
	socket atomic.Pointer[socket]
	// relist makes the recordWatcher list everything and enqueue every key with the given cause; verify makes it check
	// only the sandboxes' IDs. A pending request covers later ones.
	relist chan string
	verify chan struct{}

	// lastOverrun is the newest overrun that the recordWatcher has not reported.
	lastOverrun atomic.Pointer[overrunError]

	events, relevant, overruns, reopens, relists, resyncs atomic.Uint64
	// missed is counted at each receive error, and when there is a socket again.
	missed atomic.Uint64

	// Replaced by tests.
	openSocket func(receiveBuffer int) (*socket, error)
	openNSIDs  func() (nsids, error)
	openDir    func(dir string) (*dirWatch, error)
}

// overrunError is the receive error of an overrun.
type overrunError struct{ err error }

// New returns a Monitor. Errors are about cfg; nothing is opened yet.
func New(cfg Config) (*Monitor, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Monitor{
		cfg:    cfg,
		relist: make(chan string, 1), verify: make(chan struct{}, 1),
		openSocket: openSocket, openNSIDs: openNSIDs, openDir: openDir,
	}
	m.index.Store(newIndex(nil, noNSID, nil))
	return m, nil
}

// Run enqueues keys until ctx ends, first each record's with CauseStart. It must be called in the host's netns, by one
// goroutine at a time. It returns nil when ctx has ended, or an error if it could not start. Later errors are passed to
// Config.OnError, counted and recovered from. Everything that it started has ended when it returns.
//
// A key is enqueued after its sandbox has a netns ID. So a worker that reads the state after that misses no later
// event.
func (m *Monitor) Run(ctx context.Context, sink Sink) error {
	s, err := m.openSocket(m.cfg.ReceiveBuffer)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	var listening sync.WaitGroup
	listening.Go(func() { newListener(m, sink).run(ctx, s) })
	newRecordWatcher(m, sink).run(ctx)
	listening.Wait()
	return nil
}

// Drained waits until the sink and Config.OnBondDown have been called for all events that the kernel had sent before the
// call, or until ctx ends. It does not wait for events that were lost in an overrun: these Missed counts by then. It is
// safe for concurrent use.
func (m *Monitor) Drained(ctx context.Context) {
	if s := m.socket.Load(); s != nil {
		s.drained(ctx)
	}
}

// Missed returns a number that grows whenever events may have been lost. It is safe for concurrent use.
func (m *Monitor) Missed() uint64 { return m.missed.Load() }

// Stats returns the current counters. It is safe for concurrent use.
func (m *Monitor) Stats() Stats {
	return Stats{
		Events: m.events.Load(), Relevant: m.relevant.Load(),
		Overruns: m.overruns.Load(), Reopens: m.reopens.Load(),
		Relists: m.relists.Load(), Resyncs: m.resyncs.Load(),
	}
}
