package status

import (
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TransitionLogger writes one log line per change of a bond's state, reason or active member. A bond whose state
// changes all the time gets lines at a limited rate, with the number of changes. It is safe for concurrent use.
type TransitionLogger struct {
	log   *zap.Logger
	mu    sync.Mutex
	bonds map[bond.Key]*transitions
}

// transitions are those of one bond.
type transitions struct {
	logged, seen loggedState
	changes      int // since the last line
	limiter      *rate.Limiter
}

type loggedState struct {
	state  bond.State
	reason string
	active string
}

// The lines about one bond: maxTransitions at once, then one per transitionPause. Repairs are limited to 10 per minute,
// so only a pod that changes what is not repaired exceeds this.
const (
	maxTransitions  = 60
	transitionPause = 3 * time.Second
)

// bondStateChanged is the event that all changes are logged as.
const bondStateChanged = "bond state changed"

// NewTransitionLogger returns a TransitionLogger that writes to log.
func NewTransitionLogger(log *zap.Logger) *TransitionLogger {
	return &TransitionLogger{log: log, bonds: map[bond.Key]*transitions{}}
}

// take takes in a state. due: it is to be logged now, with the last logged state and the number of changes since. One
// that is not logged because there were too many lines is logged by a later report.
func (l *TransitionLogger) take(k bond.Key, now loggedState) (before loggedState, changes int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bonds[k]
	if b == nil {
		b = &transitions{limiter: rate.NewLimiter(rate.Every(transitionPause), maxTransitions)}
		l.bonds[k] = b
	}
	if b.seen != now {
		b.seen = now
		b.changes++
	}
	if b.logged == now || !b.limiter.Allow() {
		return before, 0, false
	}
	before, changes = b.logged, b.changes
	b.logged, b.changes = now, 0
	return before, changes, true
}

// Report logs the bond's state if it has changed.
func (l *TransitionLogger) Report(s bond.Status) {
	before, changes, due := l.take(s.Key, loggedState{s.State, s.Reason, s.Active})
	if !due {
		return
	}
	fields := []zap.Field{
		zap.String("bond", s.Key.String()), zap.String("pod", s.Pod.String()),
		zap.String("state", string(s.State)), zap.String("active", s.Active),
	}
	if before.state != "" {
		fields = append(fields, zap.String("was", string(before.state)))
	}
	if changes > 1 {
		fields = append(fields, zap.Int("changes", changes))
	}
	if len(s.Losses) > 0 {
		fields = append(fields, zap.String("loss", strings.Join(s.Losses, ",")))
	}
	if s.Reason != "" {
		fields = append(fields, zap.String("reason", s.Reason))
	}
	switch {
	case s.State == bond.StateDown, s.State == bond.StateStuck:
		l.log.Error(bondStateChanged, fields...)
	case s.State == bond.StateDegraded, s.State == bond.StateRepairing, s.Unreleased != "":
		l.log.Warn(bondStateChanged, fields...)
	default:
		l.log.Info(bondStateChanged, fields...)
	}
}

// Forget drops a bond whose record is gone.
func (l *TransitionLogger) Forget(k bond.Key) {
	l.mu.Lock()
	_, known := l.bonds[k]
	delete(l.bonds, k)
	l.mu.Unlock()
	if known {
		l.log.Info("bond record removed", zap.String("bond", k.String()))
	}
}
