package status

import (
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TransitionLogger writes one log line per change of a bond's state, reason or active member. It is safe for concurrent
// use.
type TransitionLogger struct {
	log  *zap.Logger
	mu   sync.Mutex
	last map[bond.Key]loggedState
}

type loggedState struct {
	state  bond.State
	reason string
	active string
}

// bondStateChanged is the event that all changes are logged as.
const bondStateChanged = "bond state changed"

// NewTransitionLogger returns a TransitionLogger that writes to log.
func NewTransitionLogger(log *zap.Logger) *TransitionLogger {
	return &TransitionLogger{log: log, last: map[bond.Key]loggedState{}}
}

// Report logs the bond's state if it has changed.
func (l *TransitionLogger) Report(s bond.Status) {
	now := loggedState{s.State, s.Reason, s.Active}
	l.mu.Lock()
	before, known := l.last[s.Key]
	l.last[s.Key] = now
	l.mu.Unlock()
	if known && before == now {
		return
	}
	fields := []zap.Field{
		zap.String("bond", s.Key.String()), zap.String("pod", s.Pod.String()),
		zap.String("state", string(s.State)), zap.String("active", s.Active),
	}
	if known {
		fields = append(fields, zap.String("was", string(before.state)))
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
	_, known := l.last[k]
	delete(l.last, k)
	l.mu.Unlock()
	if known {
		l.log.Info("bond record removed", zap.String("bond", k.String()))
	}
}
