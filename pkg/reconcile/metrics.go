package reconcile

import (
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/history"
)

// Metrics takes what is counted for metrics. Its methods are called by several workers at once, some of them under a
// bond's lock, and must not block.
type Metrics interface {
	// Lost: a loss was opened. One that was open when the process started is not reported.
	Lost(s bond.Subject, cause string)
	// Recovered: a loss ended after took. For absent of that the member was in neither the pod nor the host.
	Recovered(s bond.Subject, cause string, took, absent time.Duration)
	// Abandoned: the record was removed while a loss was open.
	Abandoned(s bond.Subject, cause string)
	// ActionFailed: the kernel or a driver rejected a change, or the change had no effect. That a card is busy, or that
	// the plan was stale, is not reported.
	ActionFailed(action string)
}

// noMetrics is the Metrics of a process that counts nothing.
type noMetrics struct{}

func (noMetrics) Lost(bond.Subject, string)                                    {}
func (noMetrics) Recovered(bond.Subject, string, time.Duration, time.Duration) {}
func (noMetrics) Abandoned(bond.Subject, string)                               {}
func (noMetrics) ActionFailed(string)                                          {}

// LossCauses returns the causes that Lost, Recovered and Abandoned may have.
func LossCauses(s bond.Subject) []string { return texts(history.LossCauses(s)) }

// Actions returns the actions that ActionFailed may have.
func Actions() []string { return plan.ActionNames() }

// Findings returns the codes that Outcome.Found may have.
func Findings() []string { return texts(plan.Codes()) }

func texts(codes []plan.Code) (all []string) {
	for _, c := range codes {
		all = append(all, string(c))
	}
	return all
}

func subjectOf(member int) bond.Subject {
	if member == plan.OnBond {
		return bond.SubjectBond
	}
	return bond.SubjectMember
}

// countResult reports the result of a round.
func (e *Engine) countResult(res *history.Result) {
	for _, l := range res.Lost {
		e.metrics.Lost(subjectOf(l.Member), string(l.Cause))
	}
	for _, r := range res.Recovered {
		e.metrics.Recovered(subjectOf(r.Member), r.Cause, r.Took, r.Absent)
	}
	for _, i := range res.Ineffective {
		e.metrics.ActionFailed(plan.ActionName(i.Action))
	}
}

// countFailure reports an action that failed.
func (e *Engine) countFailure(a plan.Action, err error) {
	if isRejection(err) {
		e.metrics.ActionFailed(plan.ActionName(a))
	}
}

// forget drops the history of a bond whose record was removed.
func (e *Engine) forget(k bond.Key) {
	for _, l := range e.histories.Forget(k) {
		e.metrics.Abandoned(subjectOf(l.Member), string(l.Cause))
	}
}
