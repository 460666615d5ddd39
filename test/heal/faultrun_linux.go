package heal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/test/faults"
)

// Fault is something that happens to a pod's bond, and the expected outcome.
type Fault struct {
	Name, Expect string
	// Agent are the agent's flags for this fault.
	Agent []string
	// Minor: it is not in the demo.
	Minor bool
	// Needs are what the model of the cards must have.
	Needs faults.Needs
	run   func(context.Context, *faultRun) error
}

// Result is the outcome of a fault. Times that were not measured are 0.
type Result struct {
	Fault
	// Outcome describes in a few words what happened; empty if Err is set.
	Outcome string
	// Detected is the time from the fault to the agent's first log line about it.
	Detected time.Duration
	// Recovered is the time until everything is as before: from the command that gives back what was taken (a VF's
	// driver, VFs, an agent), or from the fault if nothing had to be given back.
	Recovered time.Duration
	// Total is the time from the fault until everything is as before.
	Total time.Duration
	// Lost is the number of lost pings, of twenty per second.
	Lost int
	// Err is why the row failed; nil if the outcome is as expected.
	Err error
}

// faultRun is the run of one fault.
type faultRun struct {
	r        *Fixture
	report   func(string)
	result   *Result
	began    time.Time // of the fault
	returned time.Time // of what the fault took; zero until it is given back
	place    int       // in the agent's log, at the fault
	// changed counts changes of requested settings, by pod and setting.
	changed map[string]int
}

// Run makes a fault happen and returns its result. Before it, pods that the last row left broken are restored. report
// receives one line per step.
func (r *Fixture) Run(ctx context.Context, f Fault, report func(string)) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(r.cfg.scaled(2, 10))*timeout, errors.New("it took too long"))
	defer cancel()
	s := &faultRun{r: r, report: report, result: &Result{Fault: f, Outcome: "healed"}}
	if err := s.play(ctx, f); err != nil {
		s.result.Err, s.result.Outcome = err, ""
	}
	return *s.result
}

func (s *faultRun) play(ctx context.Context, f Fault) error {
	if err := s.r.prepare(ctx, f, s.report); err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	pings, err := s.r.pings.open(ctx)
	if err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	if oldRenames {
		operator, leave := context.WithCancel(ctx)
		defer leave()
		go s.followAdvice(operator)
	}
	if err = f.run(ctx, s); err != nil {
		return err
	}
	if oldRenames {
		if err = s.undoFailover(ctx); err != nil {
			return err
		}
	}
	if err = s.r.pings.alive(); err != nil {
		return err
	}
	s.result.Lost, err = pings.close(ctx)
	return err
}

// prepare brings agent and pods to the state in which every fault starts. Pods that stayed broken are recreated, so
// that one failure does not cause the next.
func (r *Fixture) prepare(ctx context.Context, f Fault, report func(string)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errors.New("not in time"))
	defer cancel()
	if err := errors.Join(r.useAgent(ctx, f.Agent...), r.setUp(ctx)); err != nil {
		return err
	}
	err := r.awaitAllBaselines(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	report(fmt.Sprintf("the pods are recreated: %v", err))
	if err := r.remake(ctx); err != nil {
		return err
	}
	return errors.Join(r.useAgent(ctx, f.Agent...), r.setUp(ctx))
}

// awaitAllBaselines waits for repairs that the last fault may have left in progress.
func (r *Fixture) awaitAllBaselines(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout/6, errors.New("not recovered"))
	defer cancel()
	for _, p := range r.Pods() {
		if err := r.awaitBaseline(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (s *faultRun) logf(format string, args ...any) { s.report(fmt.Sprintf(format, args...)) }

// fault records the time of the fault and makes it happen.
func (s *faultRun) fault(what string, do func() error) error {
	s.logf("%s", what)
	s.began, s.returned, s.place = time.Now(), time.Time{}, s.r.log.len()
	return do()
}

// giveBack gives back what the fault took. The time counts from before the call: the agent may have repaired one VF
// before a driver has brought the next.
func (s *faultRun) giveBack(what string, do func() error) error {
	s.logf("%s", what)
	s.returned = time.Now()
	return do()
}

// sees waits for a line of the agent's log after the fault.
func (s *faultRun) sees(ctx context.Context, what string, match func(Line) bool) (Line, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not in the agent's log within %v", timeout))
	defer cancel()
	l, _, err := s.r.log.await(ctx, s.place, match)
	if err != nil {
		return l, errWaited(what, err)
	}
	if s.result.Detected == 0 {
		s.result.Detected = max(l.Time.Sub(s.began), time.Millisecond)
	}
	return l, nil
}

// seesLoss waits until the agent logs a loss in each of the pods.
func (s *faultRun) seesLoss(ctx context.Context, pods ...*Pod) error {
	for _, p := range pods {
		l, err := s.sees(ctx, "the loss in pod "+p.Name, func(l Line) bool { return l.isLoss() && p.is(l) })
		if err != nil {
			return err
		}
		s.logf("the agent sees it after %s: %s of %s, %s", short(max(l.Time.Sub(s.began), time.Millisecond)), orBond(l.Member), p.Name, l.Cause)
	}
	return nil
}

func orBond(member string) string {
	if member == "" {
		return BondName
	}
	return member
}

// awaitRecovery waits until the pods are as before the fault, and the agent has logged the end of each loss.
func (s *faultRun) awaitRecovery(ctx context.Context, pods ...*Pod) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not recovered within %v", timeout))
	defer cancel()
	for _, p := range pods {
		at, err := s.recoveredAt(ctx, p)
		if err != nil {
			return err
		}
		s.result.Total = max(s.result.Total, at.Sub(s.began))
		from := s.began
		if !s.returned.IsZero() {
			from = s.returned
		}
		s.result.Recovered = max(s.result.Recovered, at.Sub(from), time.Millisecond)
	}
	for _, p := range pods {
		if err := s.closed(ctx, p); err != nil {
			return err
		}
	}
	s.logf("all as before after %s", short(s.result.Recovered))
	return nil
}

// recoveredAt is the time of the last event that completed the pod's recovery: the last kernel change or agent log line
// before the end of the check that found no difference.
func (s *faultRun) recoveredAt(ctx context.Context, p *Pod) (time.Time, error) {
	var besides []string
	if oldRenames {
		besides = []string{BondName + " mac"} // a link that is set down for its name causes a failover
	}
	return s.r.until(ctx, p, func(now snapshot) []string { return now.diff(p.baseline, besides...) })
}

// closed waits until the agent has logged the end of each loss.
func (s *faultRun) closed(ctx context.Context, p *Pod) error {
	open := map[string]bool{}
	place := s.place
	for {
		for _, l := range s.r.log.from(place) {
			place++
			switch {
			case !p.is(l):
			case l.isLoss():
				open[orBond(l.Member)] = true
			case l.isRecovery():
				delete(open, orBond(l.Member))
			}
		}
		if len(open) == 0 {
			return nil
		}
		select {
		case <-s.r.log.next(place):
		case <-ctx.Done():
			return fmt.Errorf("pod %s has recovered, but the agent has not logged the repair of %v: %w", p.Name, open, context.Cause(ctx))
		}
	}
}

// still checks that nothing changes in the kernel for a time, in any netns.
func (s *faultRun) still(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	place := s.r.monitor.events.len()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.r.monitor.events.next(place):
		return fmt.Errorf("the kernel changed where nothing should: %s", s.r.monitor.events.from(place)[0].text)
	}
}

// quiet waits until nothing has changed in the kernel for a time; IPv6 addresses, for example, come late.
func (s *faultRun) quiet(ctx context.Context, d time.Duration) error {
	for {
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
			return nil
		case <-s.r.monitor.events.next(s.r.monitor.events.len()):
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return errWaited("quiet", context.Cause(ctx))
		}
	}
}

// mark waits until the monitor has reported everything up to now. Its reports are in order, so the report of a change
// made here comes last. It returns the texts of all events since place, except that one.
func (s *faultRun) mark(ctx context.Context, place int) (texts []string, err error) {
	const address = "127.99.99.99/32"
	if err = ip(ctx, "address add %s dev lo", address); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ip(context.WithoutCancel(ctx), "address del %s dev lo", address)) }()
	_, end, err := s.r.monitor.events.await(ctx, place, func(e event) bool { return strings.Contains(e.text, "127.99.99.99") })
	if err != nil {
		return nil, errWaited("our own mark", err)
	}
	for _, e := range s.r.monitor.events.from(place)[:end-1-place] {
		texts = append(texts, e.text)
	}
	return texts, nil
}

// short formats a duration for the table.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}
