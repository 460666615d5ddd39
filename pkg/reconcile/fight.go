package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/plan"
)

// Repairs that another writer keeps undoing are limited: fightBurst at once, then one every fightPause (10 per minute).
const (
	fightBurst = 3
	fightPause = 6 * time.Second
	// fightReport is the time between two log lines about one fight.
	fightReport = time.Minute
)

// budget limits the repairs of one kind on one member or on the bond. Each kind has its own: a pod whose address flaps must
// not delay its bond's re-creation.
type budget struct {
	repairs  []time.Time // the last ones, up to fightBurst
	fighting bool
	count    int // repairs since the last log line
	reported time.Time
}

// free is when the next repair may be made.
func (b *budget) free() time.Time {
	if len(b.repairs) < fightBurst {
		return time.Time{}
	}
	return b.repairs[0].Add(fightBurst * fightPause)
}

// budgetOf is the subject of an action without its detail: all addresses share one budget, and all routes. Whatever only the
// host can undo has none: a member that is lost again and again is held back by Patience.Flap. Addresses and routes that went
// with the bond have one apart from those that were removed by themselves.
func (r *repairing) budgetOf(a plan.Action) (s subject, limited bool) {
	kind, _, _ := strings.Cut(plan.Kind(a), " ")
	switch a.(type) {
	case plan.MoveToPod, plan.RestoreVF, plan.Bounce, plan.Announce:
		return subject{}, false
	}
	if plan.Contestable(a) != "" && r.rec.Restoring {
		kind += " after a loss"
	}
	return subject{member: a.On(), kind: kind}, true
}

// repairing is one call of converge, in which each budget is charged once, however many rounds it takes.
type repairing struct {
	rec     *bond.Record
	limited bool // repairs of a bond whose ADD returned; not ADD, and not DEL
	charged map[subject]bool
	back    map[int]bool // members that came back from the host: their way into the bond is free
}

func newRepairing(rec *bond.Record) *repairing {
	return &repairing{rec: rec, limited: rec.Phase == bond.PhaseReady, charged: map[subject]bool{}, back: map[int]bool{}}
}

// unaffordable returns when an action may be tried for its budget; zero: now. The caller holds b.mu.
func (b *bondMemory) unaffordable(r *repairing, a plan.Action, now time.Time) time.Time {
	s, limited := r.budgetOf(a)
	if !limited || !r.limited || r.charged[s] || r.back[a.On()] || b.budgets[s] == nil {
		return time.Time{}
	}
	at := b.budgets[s].free()
	if !now.Before(at) {
		return time.Time{}
	}
	return at
}

// charge counts a repair that was made.
func (b *bondMemory) charge(r *repairing, a plan.Action, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, moved := a.(plan.MoveToPod); moved {
		r.back[a.On()] = true
	}
	s, limited := r.budgetOf(a)
	if !limited || !r.limited || r.charged[s] || r.back[a.On()] {
		return
	}
	r.charged[s] = true
	u := b.budgets[s]
	if u == nil {
		u = &budget{}
		b.budgets[s] = u
	}
	u.repairs = append(u.repairs, now)
	u.repairs = u.repairs[max(0, len(u.repairs)-fightBurst):]
	u.count++
}

// fights brings the budgets up to date with what has to wait, and returns the fights that are due for a log line.
func (b *bondMemory) fights(r *repairing, actions []plan.Action, now time.Time) (begun, lasting []fight, ended []subject) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range actions {
		if s, _ := r.budgetOf(a); !b.unaffordable(r, a, now).IsZero() && !b.budgets[s].fighting {
			u := b.budgets[s]
			u.fighting, u.reported = true, now
			begun = append(begun, fight{s, u.count})
			u.count = 0
		}
	}
	for s, u := range b.budgets {
		last := u.repairs[len(u.repairs)-1]
		switch {
		case now.Sub(last) > 2*fightBurst*fightPause:
			if u.fighting {
				ended = append(ended, s)
			}
			delete(b.budgets, s)
		case u.fighting && now.Sub(u.reported) >= fightReport:
			lasting = append(lasting, fight{s, u.count})
			u.reported, u.count = now, 0
		}
	}
	return begun, lasting, ended
}

// fight is what another writer keeps undoing, and how often it was repaired since the last log line.
type fight struct {
	subject
	repairs int
}

// on names what the fight is about.
func (s subject) on(rec *bond.Record) string {
	name := rec.BondName()
	if s.member != plan.OnBond {
		name = rec.Members[s.member].Name
	}
	return fmt.Sprintf("%s on %s", s.kind, name)
}

// fighting reports whether repairs of a member, or of the bond, are limited. A bond that is deleted again and again takes
// its members along.
func (b *bondMemory) fighting(member int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s, u := range b.budgets {
		if u.fighting && (s.member == member || s.kind == plan.Kind(plan.CreateBond{})) {
			return true
		}
	}
	return false
}

// lossLevel is the level of the log line about a loss. What is repaired again and again is not logged each time. A VF that
// has left the pod is: only the host can cause that.
func (b *bondMemory) lossLevel(member int, c plan.Code) zapcore.Level {
	quiet := c != plan.MemberLost && c != plan.MemberInHost && b.fighting(member)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.part(member).quiet = quiet
	if quiet {
		return zap.DebugLevel
	}
	return zap.WarnLevel
}

// repairLevel is the level of the log line about the end of a loss: a reader who saw the loss sees its end.
func (b *bondMemory) repairLevel(member int) zapcore.Level {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.part(member).quiet {
		return zap.DebugLevel
	}
	return zap.InfoLevel
}

// actionLevel is the level of the log line about a change that was made.
func (b *bondMemory) actionLevel(member int) zapcore.Level {
	if b.fighting(member) {
		return zap.DebugLevel
	}
	return zap.InfoLevel
}

// fought names what is being fought over, sorted.
func (b *bondMemory) fought(rec *bond.Record) []string {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for s, u := range b.budgets {
		if u.fighting {
			all = append(all, s.on(rec))
		}
	}
	slices.Sort(all)
	return all
}

// logFights writes one line when a fight begins, one per minute while it lasts, and one at its end.
func (e *Engine) logFights(rec *bond.Record, mem *bondMemory, r *repairing, actions []plan.Action, now time.Time) {
	begun, lasting, ended := mem.fights(r, actions, now)
	log := e.logFor(rec)
	for _, f := range append(begun, lasting...) {
		log.Warn("another writer keeps undoing repairs, which are limited", zap.String("what", f.on(rec)), zap.Int("repairs", f.repairs))
	}
	for _, s := range ended {
		log.Info("repairs are not undone any more", zap.String("what", s.on(rec)))
	}
}
