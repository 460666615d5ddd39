package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// Repairs that another writer keeps undoing are limited: budgetBurst at once, then one every budgetPause (10 per
// minute).
const (
	budgetBurst = 3
	budgetPause = 6 * time.Second
	// limitReport is the time between two log lines about one limit.
	limitReport = time.Minute
)

// budget limits the repairs of one kind on a subject. Each kind has its own: a pod whose address flaps must not delay
// its bond's re-creation.
type budget struct {
	limiter  *rate.Limiter
	last     time.Time // of the repairs
	limited  bool      // a repair had to wait
	count    int       // repairs since the last log line
	reported time.Time
}

// budgetKey is a kind of action without its detail: all addresses share one budget, and all routes.
type budgetKey struct {
	kind   string
	repair int // which repair of the bond it follows; 0 where that makes no difference
}

// nextFree returns when the next repair may be made; zero: now.
func (b *budget) nextFree(now time.Time) time.Time {
	missing := 1 - b.limiter.TokensAt(now)
	if missing < 1e-3 { // rounding
		return time.Time{}
	}
	return now.Add(time.Duration(missing * float64(budgetPause)))
}

// budgetOf returns the budget that an action is charged to. What only the host can undo has none: a member that is lost
// again and again is damped. Addresses and routes that were lost with the bond have another one than those that were
// removed by themselves. The active member is chosen again after each repair, whose own budget limits that, too.
func (r *Run) budgetOf(a plan.Action) (k budgetKey, hasBudget bool) {
	switch a.(type) {
	case plan.MoveToPod, plan.RestoreVF, plan.Bounce, plan.Announce:
		return budgetKey{}, false
	}
	if _, sets := a.(plan.SetOptions); sets && a.Subject() != plan.OnBond { // the primary, by its link before that is enslaved
		return budgetKey{}, false
	}
	k.kind, _, _ = strings.Cut(plan.Kind(a), " ")
	if plan.Contestable(a) != "" && r.rec.Restoring {
		k.kind += " after a loss"
	}
	if _, follows := a.(plan.SetActive); follows {
		k.repair = r.rec.Repairs.Count + 1
	}
	return k, true
}

// spent is what one reconcile has charged: each budget once, however many rounds it takes.
type spent struct {
	limits  bool // repairs of a bond whose ADD returned are limited; ADD and DEL are not
	charged map[chargeKey]bool
	// exempted has the members that came back from the host or into the bond: the rest of their way back is not
	// charged. Nor is anything after the bond was created (plan.OnBond).
	exempted map[int]bool
}

type chargeKey struct {
	member int
	budgetKey
}

func newSpent(rec *bond.Record) spent {
	return spent{limits: rec.Phase == bond.PhaseReady, charged: map[chargeKey]bool{}, exempted: map[int]bool{}}
}

// exempt reports whether an action is not charged.
func (s *spent) exempt(member int, k budgetKey) bool {
	return !s.limits || s.charged[chargeKey{member, k}] || s.exempted[member] || s.exempted[plan.OnBond]
}

// budgetTime returns when an action may be tried for its budget; zero: now.
func (r *Run) budgetTime(a plan.Action, now time.Time) time.Time {
	k, ok := r.budgetOf(a)
	b := r.h.subject(a.Subject()).budgets[k]
	if !ok || b == nil || r.spent.exempt(a.Subject(), k) {
		return time.Time{}
	}
	return b.nextFree(now)
}

// charge counts a repair that was made.
func (r *Run) charge(a plan.Action, now time.Time) {
	k, ok := r.budgetOf(a)
	free := !ok || r.spent.exempt(a.Subject(), k)
	switch a.(type) {
	case plan.MoveToPod, plan.Enslave, plan.CreateBond:
		r.spent.exempted[a.Subject()] = true
	}
	if free {
		return
	}
	r.spent.charged[chargeKey{a.Subject(), k}] = true
	budgets := r.h.subject(a.Subject()).budgets
	if budgets[k] == nil {
		budgets[k] = &budget{limiter: rate.NewLimiter(rate.Every(budgetPause), budgetBurst)}
	}
	b := budgets[k]
	b.limiter.ReserveN(now, 1)
	b.last = now
	b.count++
}

// Limit is a kind of repair that is limited.
type Limit struct {
	What    string
	Repairs int // since the last log line
}

// limits begins the limits of what has to wait and ends those that are over. It keeps their names in the record, for
// processes that do not have this history.
func (r *Run) limits(actions []plan.Action, now time.Time, res *Result) {
	report := func(b *budget, what string) {
		res.Limited = append(res.Limited, Limit{What: what, Repairs: b.count})
		b.limited, b.reported, b.count = true, now, 0
	}
	for _, a := range actions {
		k, _ := r.budgetOf(a)
		if b := r.h.subject(a.Subject()).budgets[k]; !r.budgetTime(a, now).IsZero() && !b.limited {
			report(b, k.describe(r.rec, a.Subject()))
		}
	}
	for i, s := range r.h.subjects(r.rec) {
		for k, b := range s.budgets {
			switch what := k.describe(r.rec, i); {
			case now.Sub(b.last) > 2*budgetBurst*budgetPause:
				if b.limited {
					res.Unlimited = append(res.Unlimited, what)
				}
				delete(s.budgets, k)
			case b.limited && now.Sub(b.reported) >= limitReport:
				report(b, what)
			}
		}
	}
	names := r.h.limitNames(r.rec)
	if r.rec.Phase == bond.PhaseReady && !slices.Equal(names, r.rec.Fights) {
		r.rec.Fights, res.LimitsChanged = names, true
	}
}

// describe names a kind of repair.
func (k budgetKey) describe(rec *bond.Record, member int) string {
	name := rec.BondName()
	if member != plan.OnBond {
		name = rec.Members[member].Name
	}
	return fmt.Sprintf("%s on %s", k.kind, name)
}

// limited reports whether repairs of a member, or of the bond, are limited. A bond that is deleted again and again
// takes its members along.
func (h *History) limited(member int) bool {
	for _, b := range h.subject(member).budgets {
		if b.limited {
			return true
		}
	}
	create := h.subject(plan.OnBond).budgets[budgetKey{kind: plan.Kind(plan.CreateBond{})}]
	return create != nil && create.limited
}

// Limits names the repairs that are limited, sorted.
func (h *History) Limits(rec *bond.Record) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.limitNames(rec)
}

func (h *History) limitNames(rec *bond.Record) []string {
	var all []string
	for i, s := range h.subjects(rec) {
		for k, b := range s.budgets {
			if b.limited {
				all = append(all, k.describe(rec, i))
			}
		}
	}
	slices.Sort(all)
	return all
}
