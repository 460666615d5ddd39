package watch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// Hub turns events into keys. Make one with New.
type Hub struct {
	cfg Config
	// index is written by the keeper and read by the listener.
	index atomic.Pointer[index]
	// relist asks the keeper to list everything and hand out every key, with the cause given;
	// verify asks it to look only at the sandboxes' IDs. A request that stands covers later ones.
	relist chan string
	verify chan struct{}

	// loss is the newest loss of events that the keeper has not reported.
	loss atomic.Pointer[loss]

	events, relevant, overruns, reopens, relists, resyncs atomic.Uint64

	// The edges of the package, to be replaced by tests.
	openSocket func(receiveBuffer int) (*socket, error)
	openNSIDs  func() (nsids, error)
	openDir    func(dir string) (*dirWatch, error)
}

// loss is why events were lost.
type loss struct{ err error }

// New makes a Hub. The error says which field of cfg is wrong; nothing is opened yet.
func New(cfg Config) (*Hub, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Hub{
		cfg:    cfg,
		relist: make(chan string, 1), verify: make(chan struct{}, 1),
		openSocket: openSocket, openNSIDs: openNSIDs, openDir: openDir,
	}
	h.index.Store(newIndex(nil, noNSID, nil))
	return h, nil
}

// Run hands keys to sink until ctx ends, first each record's with CauseStart. It must be
// called in the host's netns, and once at a time. It answers nil when ctx ended, or why it
// could not begin; what goes wrong later is told to Config.Problem, counted, and mended. All
// that it started has ended when it returns.
//
// A key is handed out after its sandbox got a netns ID, so whoever reads the state then
// misses no event that comes after.
func (h *Hub) Run(ctx context.Context, sink Sink) error {
	s, err := h.openSocket(h.cfg.ReceiveBuffer)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	var listening sync.WaitGroup
	listening.Go(func() { newListener(h, sink).run(ctx, s) })
	newKeeper(h, sink).run(ctx)
	listening.Wait()
	return nil
}

// Stats are the counters as they are now. Safe for concurrent use.
func (h *Hub) Stats() Stats {
	return Stats{
		Events: h.events.Load(), Relevant: h.relevant.Load(),
		Overruns: h.overruns.Load(), Reopens: h.reopens.Load(),
		Relists: h.relists.Load(), Resyncs: h.resyncs.Load(),
	}
}
