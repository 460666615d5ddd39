package podsetup

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Runtime is the container runtime; runtime.Runtime implements it.
type Runtime interface {
	// Populated returns the sandboxes that have a container.
	Populated(ctx context.Context) ([]string, error)
}

const (
	// pollEach is the interval of queries while a pod is in set-up; after a failure the pause doubles up to maxPause.
	pollEach = time.Second
	maxPause = 30 * time.Second
	// listTimeout bounds one query.
	listTimeout = 5 * time.Second
	// forgetAfter is the time after which a pod that was not queried is forgotten.
	forgetAfter = 2 * time.Minute
	// believe is the time for which a response of the runtime counts as current.
	believe = 3*pollEach + listTimeout
)

// Watcher collects the evidence. Its methods are safe for concurrent use; Evidence and NetworkStatus never block.
type Watcher struct {
	runtime Runtime
	log     *zap.Logger
	now     func() time.Time
	// requested wakes Run when the set-up of a pod is queried.
	requested chan struct{}

	mu sync.Mutex
	// sandboxes has those of pods in set-up, by container ID.
	sandboxes map[string]*sandbox
	// written has the UIDs of pods whose network status was observed, and when that was last.
	written map[string]time.Time
	// lastPoll is when the last query of the runtime that has ended was sent, lastReply the last one without an error.
	lastReply, lastPoll time.Time
}

type sandbox struct {
	firstQuery, lastQuery time.Time
	populated             bool
}

// New makes a Watcher. log may be nil.
func New(r Runtime, log *zap.Logger) *Watcher {
	if log == nil {
		log = zap.NewNop()
	}
	return &Watcher{
		runtime: r, log: log, now: time.Now, requested: make(chan struct{}, 1),
		sandboxes: map[string]*sandbox{}, written: map[string]time.Time{},
	}
}

// Evidence is a reconcile.SetupEvidence. The runtime is queried first, and while it replies, only its evidence counts:
// the network status on a pod may be that of an earlier sandbox, because a pod's annotations outlive a restart of its
// node.
func (w *Watcher) Evidence(rec *bond.Record) (evidence string, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	s := w.sandboxes[rec.Key.ContainerID]
	if s == nil {
		s = &sandbox{firstQuery: now}
		w.sandboxes[rec.Key.ContainerID] = s
	}
	s.lastQuery = now
	select {
	case w.requested <- struct{}{}:
	default:
	}
	if s.populated {
		return bond.EvidenceContainer, true
	}
	if w.lastPoll.IsZero() || !w.lastReply.IsZero() && now.Sub(w.lastReply) < believe {
		return "", true
	}
	if !s.firstQuery.After(w.lastPoll) && w.hasStatus(rec) {
		return bond.EvidenceNetworkStatus, true
	}
	return "", false
}

// hasStatus reports whether the network status of a record's pod was observed after its ADD returned. Before, it is that
// of an earlier sandbox. w.mu is held.
func (w *Watcher) hasStatus(rec *bond.Record) bool {
	at, written := w.written[rec.Pod.UID]
	return written && rec.Pod.UID != "" && at.After(rec.Setup.Returned)
}

// NetworkStatus records that a pod has its network status.
func (w *Watcher) NetworkStatus(pod bond.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written[pod.UID] = w.now()
}

// Run queries the runtime, while there are pods in set-up, until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	pause := pollEach
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.requested:
		}
		err := w.poll(ctx)
		switch {
		case err == nil:
			pause = pollEach
		case ctx.Err() == nil:
			w.log.Debug("container runtime does not list containers", zap.Error(err), zap.Duration("retryAfter", pause))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err != nil {
			pause = min(2*pause, maxPause)
		}
	}
}

// errEmpty: the agent's own container is missing, so this is not the runtime of the node's pods (containerd beside
// cri-dockerd, for example), or it has lost its state. A pod's set-up would never end.
var errEmpty = errors.New("the container runtime lists no pod with a container")

// poll asks once. A container that is there was created after ADD, whenever the question was sent.
func (w *Watcher) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	sent := w.now()
	ids, err := w.runtime.Populated(ctx)
	if err == nil && len(ids) == 0 {
		err = errEmpty
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.sandboxes, func(_ string, s *sandbox) bool { return sent.Sub(s.lastQuery) > forgetAfter })
	maps.DeleteFunc(w.written, func(_ string, at time.Time) bool { return sent.Sub(at) > time.Hour })
	w.lastPoll = sent
	if err != nil {
		return err
	}
	w.lastReply = sent
	for _, id := range ids {
		if s := w.sandboxes[id]; s != nil {
			s.populated = true
		}
	}
	return nil
}
