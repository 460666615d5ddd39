package reconcile

import (
	"context"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// The intervals at which the driver sends LACP messages (AD_FAST_PERIODIC_TIME and AD_SLOW_PERIODIC_TIME).
const (
	lacpFast = time.Second
	lacpSlow = 30 * time.Second
)

// Poll describes what to check of a bond that changes without an event.
type Poll struct {
	// Every is the interval of the bond's own monitor.
	Every time.Duration
	// record has what is needed to find the bond.
	record     *bond.Record
	aggregator *bond.Aggregator
}

// pollOf returns nil if the kernel reports all changes with events. It does so in all modes except 802.3ad: the
// monitors report members and carriers (bond_lower_state_changed), but a partner may come and go without a change of
// either.
func pollOf(rec *bond.Record, obs *bond.Observed) *Poll {
	b := obs.Bond
	if rec.Deleted() || b == nil || !b.Up || b.Options.Mode() != bond.Mode8023AD {
		return nil
	}
	p := &Poll{
		Every:      lacpSlow,
		record:     &bond.Record{Key: rec.Key, Spec: bond.Spec{Name: rec.Spec.Name}, Sandbox: rec.Sandbox, BondIndex: rec.BondIndex},
		aggregator: b.Aggregator,
	}
	if b.Options[bond.OptLacpRate] == "fast" {
		p.Every = lacpFast
	}
	return p
}

// Changed reports whether the bond differs from when p was made, or cannot be read.
func (e *Engine) Changed(ctx context.Context, p *Poll) bool {
	now, err := e.kernel.Aggregator(ctx, p.record)
	if err != nil || (now == nil) != (p.aggregator == nil) {
		return true
	}
	return now != nil && *now != *p.aggregator
}
