package podsetup

import (
	"context"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Runtime is what the watcher asks; runtime.Runtime is one.
type Runtime interface {
	// Populated are the sandboxes that have a container.
	Populated(ctx context.Context) ([]string, error)
}

const (
	// pollEach is how often the runtime is asked while a pod is in set-up; after a failure the pause doubles up to maxPause.
	pollEach = time.Second
	maxPause = 30 * time.Second
	// listTimeout bounds one question.
	listTimeout = 5 * time.Second
	// forgetAfter is how long a pod is remembered that nobody asked about.
	forgetAfter = 2 * time.Minute
	// believe is how long an answer of the runtime counts as current.
	believe = 3*pollEach + listTimeout
)

// Watcher gathers the evidence. Its methods are safe for concurrent use; Evidence and NetworkStatus never block.
type Watcher struct {
	runtime Runtime
	log     *zap.Logger
	now     func() time.Time
	// requested wakes Run when somebody asks about a pod.
	requested chan struct{}

	mu sync.Mutex
	// asked has the sandboxes of pods in set-up, by container ID.
	asked map[string]*sandbox
	// written has the UIDs of pods whose network status was seen.
	written map[string]time.Time
	// answered is when the last question that the runtime answered was sent.
	answered time.Time
}

type sandbox struct {
	asked     time.Time
	populated bool
}

// New makes a Watcher. log may be nil.
func New(r Runtime, log *zap.Logger) *Watcher {
	if log == nil {
		log = zap.NewNop()
	}
	return &Watcher{
		runtime: r, log: log, now: time.Now, requested: make(chan struct{}, 1),
		asked: map[string]*sandbox{}, written: map[string]time.Time{},
	}
}

// Evidence is a reconcile.SetupEvidence. While the runtime answers, only its word counts: the network status on a pod
// may be that of an earlier sandbox, for a pod keeps its annotations when its node restarts.
func (w *Watcher) Evidence(rec *bond.Record) (evidence string, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	s := w.asked[rec.Key.ContainerID]
	if s == nil {
		s = &sandbox{}
		w.asked[rec.Key.ContainerID] = s
	}
	s.asked = now
	select {
	case w.requested <- struct{}{}:
	default:
	}
	if s.populated {
		return bond.EvidenceContainer, true
	}
	if !w.answered.IsZero() && now.Sub(w.answered) < believe {
		return "", true
	}
	if _, written := w.written[rec.Pod.UID]; written && rec.Pod.UID != "" {
		return bond.EvidenceNetworkStatus, true
	}
	return "", false
}

// NetworkStatus notes that a pod has its network status.
func (w *Watcher) NetworkStatus(pod bond.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written[pod.UID] = w.now()
}

// Run asks the runtime, while there are pods in set-up, until ctx ends.
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

// poll asks once. A container that is there was created after ADD, whenever the question was sent.
func (w *Watcher) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	sent := w.now()
	ids, err := w.runtime.Populated(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.asked, func(_ string, s *sandbox) bool { return sent.Sub(s.asked) > forgetAfter })
	maps.DeleteFunc(w.written, func(_ string, at time.Time) bool { return sent.Sub(at) > time.Hour })
	if err != nil {
		return err
	}
	w.answered = sent
	for _, id := range ids {
		if s := w.asked[id]; s != nil {
			s.populated = true
		}
	}
	return nil
}
