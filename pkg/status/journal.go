package status

import (
	"sync"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Journal writes a log line whenever a bond's state, reason or active member changes. It is
// safe for concurrent use.
type Journal struct {
	log  *zap.Logger
	mu   sync.Mutex
	last map[bond.Key]told
	// repairs of bonds that were known before they were repaired
	repairs int
}

type told struct {
	state   bond.State
	reason  string
	active  string
	repairs int
	// fighting and contested are the status's.
	fighting, contested int
}

// NewJournal writes to log.
func NewJournal(log *zap.Logger) *Journal {
	return &Journal{log: log, last: map[bond.Key]told{}}
}

// Tell notes how a bond is now.
func (j *Journal) Tell(s bond.Status) {
	now := told{s.State, s.Reason, s.Active, s.Repairs, s.Fighting, s.Contested}
	j.mu.Lock()
	before, known := j.last[s.Key]
	j.last[s.Key] = now
	if known {
		j.repairs += max(0, now.repairs-before.repairs)
	}
	j.mu.Unlock()
	before.repairs, before.fighting, before.contested = now.repairs, now.fighting, now.contested // the engine logs these itself
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
	if s.Reason != "" {
		fields = append(fields, zap.String("reason", s.Reason))
	}
	switch {
	case s.State == bond.StateDown, s.State == bond.StateStuck:
		j.log.Error("bond", fields...)
	case s.State == bond.StateDegraded, s.State == bond.StateRepairing, s.Unreleased != "":
		j.log.Warn("bond", fields...)
	default:
		j.log.Info("bond", fields...)
	}
}

// Forget drops a bond whose record has gone.
func (j *Journal) Forget(k bond.Key) {
	j.mu.Lock()
	_, known := j.last[k]
	delete(j.last, k)
	j.mu.Unlock()
	if known {
		j.log.Info("bond is off the record", zap.String("bond", k.String()))
	}
}

// Count is how many bonds are in each state.
func (j *Journal) Count() map[bond.State]int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := map[bond.State]int{}
	for _, t := range j.last {
		n[t.state]++
	}
	return n
}

// Fights is the number of bonds whose repairs another writer keeps undoing, and of requested settings that were given up to
// one.
func (j *Journal) Fights() (fighting, contested int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.last {
		fighting += min(t.fighting, 1)
		contested += t.contested
	}
	return fighting, contested
}

// Repairs is how many repairs of bonds were told of since the journal was made.
func (j *Journal) Repairs() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.repairs
}
