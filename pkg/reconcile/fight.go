package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
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
	limiter  *rate.Limiter
	last     time.Time // of the repairs
	fighting bool
	count    int // repairs since the last log line
	reported time.Time
}

// nextFree returns when the next repair may be made; zero: now.
func (b *budget) nextFree(now time.Time) time.Time {
	missing := 1 - b.limiter.TokensAt(now)
	if missing < 1e-3 { // rounding
		return time.Time{}
	}
	return now.Add(time.Duration(missing * float64(fightPause)))
}

// budgetOf is the subject of an action without its detail: all addresses share one budget, and all routes. Whatever only the
// host can undo has none: a member that is lost again and again is held back by Patience.Flap. Addresses and routes that went
// with the bond have one apart from those that were removed by themselves. The active member is chosen again after each
// repair, whose own budget limits that, too.
func (r *repairRun) budgetOf(a plan.Action) (s actionKey, limited bool) {
	kind, _, _ := strings.Cut(plan.Kind(a), " ")
	switch a.(type) {
	case plan.MoveToPod, plan.RestoreVF, plan.Bounce, plan.Announce:
		return actionKey{}, false
	}
	if plan.Contestable(a) != "" && r.rec.Restoring {
		kind += " after a loss"
	}
	s = actionKey{member: a.Subject(), kind: kind}
	if _, follows := a.(plan.SetActive); follows {
		s.repair = r.rec.Repairs.Count + 1
	}
	return s, true
}

// repairRun is one call of converge, in which each budget is charged once, however many rounds it takes.
type repairRun struct {
	rec     *bond.Record
	limited bool // repairs of a bond whose ADD returned; not ADD, and not DEL
	charged map[actionKey]bool
	// exempted has the members that came back from the host or into the bond: the rest of their way back is not charged. Nor is
	// anything after the bond was created (plan.OnBond).
	exempted map[int]bool
}

func newRepairRun(rec *bond.Record) *repairRun {
	return &repairRun{rec: rec, limited: rec.Phase == bond.PhaseReady, charged: map[actionKey]bool{}, exempted: map[int]bool{}}
}

// exempt reports whether an action is not charged.
func (r *repairRun) exempt(s actionKey) bool {
	return !r.limited || r.charged[s] || r.exempted[s.member] || r.exempted[plan.OnBond]
}

// budgetTime returns when an action may be tried for its budget; zero: now. The caller holds b.mu.
func (b *bondRepairState) budgetTime(r *repairRun, a plan.Action, now time.Time) time.Time {
	s, limited := r.budgetOf(a)
	if !limited || r.exempt(s) || b.budgets[s] == nil {
		return time.Time{}
	}
	return b.budgets[s].nextFree(now)
}

// charge counts a repair that was made.
func (b *bondRepairState) charge(r *repairRun, a plan.Action, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, limited := r.budgetOf(a)
	exempt := !limited || r.exempt(s)
	switch a.(type) {
	case plan.MoveToPod, plan.Enslave, plan.CreateBond:
		r.exempted[a.Subject()] = true
	}
	if exempt {
		return
	}
	r.charged[s] = true
	u := b.budgets[s]
	if u == nil {
		u = &budget{limiter: rate.NewLimiter(rate.Every(fightPause), fightBurst)}
		b.budgets[s] = u
	}
	u.limiter.ReserveN(now, 1)
	u.last = now
	u.count++
}

// fights brings the budgets up to date with what has to wait, and returns the fights that are due for a log line.
func (b *bondRepairState) fights(r *repairRun, actions []plan.Action, now time.Time) (begun, lasting []fight, ended []actionKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range actions {
		if s, _ := r.budgetOf(a); !b.budgetTime(r, a, now).IsZero() && !b.budgets[s].fighting {
			u := b.budgets[s]
			u.fighting, u.reported = true, now
			begun = append(begun, fight{s, u.count})
			u.count = 0
		}
	}
	for s, u := range b.budgets {
		switch {
		case now.Sub(u.last) > 2*fightBurst*fightPause:
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
	actionKey
	repairs int
}

// describe names what the fight is about.
func (s actionKey) describe(rec *bond.Record) string {
	name := rec.BondName()
	if s.member != plan.OnBond {
		name = rec.Members[s.member].Name
	}
	return fmt.Sprintf("%s on %s", s.kind, name)
}

// fighting reports whether repairs of a member, or of the bond, are limited. A bond that is deleted again and again takes
// its members along.
func (b *bondRepairState) fighting(member int) bool {
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
func (b *bondRepairState) lossLevel(member int, c plan.Code) zapcore.Level {
	quiet := c != plan.MemberLost && c != plan.MemberInHost && b.fighting(member)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.member(member).quiet = quiet
	if quiet {
		return zap.DebugLevel
	}
	return zap.WarnLevel
}

// repairLevel is the level of the log line about the end of a loss: a reader who saw the loss sees its end.
func (b *bondRepairState) repairLevel(member int) zapcore.Level {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.member(member).quiet {
		return zap.DebugLevel
	}
	return zap.InfoLevel
}

// actionLevel is the level of the log line about a change that was made.
func (b *bondRepairState) actionLevel(member int) zapcore.Level {
	if b.fighting(member) {
		return zap.DebugLevel
	}
	return zap.InfoLevel
}

// fightNames names what is being fought over, sorted.
func (b *bondRepairState) fightNames(rec *bond.Record) []string {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for s, u := range b.budgets {
		if u.fighting {
			all = append(all, s.describe(rec))
		}
	}
	slices.Sort(all)
	return all
}

// logFights writes one line when a fight begins, one per minute while it lasts, and one at its end.
func (e *Engine) logFights(rec *bond.Record, state *bondRepairState, r *repairRun, actions []plan.Action, now time.Time) {
	begun, lasting, ended := state.fights(r, actions, now)
	log := e.logFor(rec)
	for _, f := range append(begun, lasting...) {
		log.Warn("repairs limited: another writer keeps undoing them", zap.String("what", f.describe(rec)), zap.Int("repairs", f.repairs))
	}
	for _, s := range ended {
		log.Info("repairs no longer limited", zap.String("what", s.describe(rec)))
	}
}

// noteFights keeps in the record what is being fought over, once per begin and end of a fight.
func (e *Engine) noteFights(rec *bond.Record, state *bondRepairState) error {
	fights := state.fightNames(rec)
	if rec.Phase != bond.PhaseReady || slices.Equal(fights, rec.Fights) {
		return nil
	}
	rec.Fights = fights
	if err := e.store.Save(rec); err != nil {
		return fmt.Errorf("bond %s of pod %s: note which repairs are limited: %w", rec.BondName(), rec.Pod, err)
	}
	return nil
}
