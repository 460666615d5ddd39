package heal

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/test/faults"
)

// timelineFault is the fault of the timeline: the loss of a VF and its return.
const timelineFault = "VF driver unbind, later bind"

// Timeline makes a VF of pod A disappear and return, and returns what was measured meanwhile.
func (r *Fixture) Timeline(ctx context.Context) (*Timeline, error) {
	rows, all := faults.Rows(), Faults()
	steps := rows[slices.IndexFunc(rows, func(f faults.Fault) bool { return f.Name == timelineFault })].Steps
	fault := all[slices.IndexFunc(all, func(f Fault) bool { return f.Name == timelineFault })]
	t := &Timeline{Fault: "the VF's driver is unbound", Return: "the VF's driver is bound again"}
	var began time.Time
	res := r.Run(ctx, fault, func(step string) {
		switch step {
		case steps[0].What:
			began = time.Now()
		case steps[1].What:
			t.Returned = time.Since(began)
		}
	})
	if res.Err != nil {
		return nil, res.Err
	}
	t.End = res.Total
	shown := began.Add(t.End + margin)
	if _, _, err := r.pings.replies.await(ctx, 0, func(p reply) bool { return p.at.After(shown) }); err != nil {
		return nil, errWaited("an answered ping", err)
	}
	within := func(at time.Time) bool { return at.After(began.Add(-margin)) && at.Before(shown) }
	for _, e := range r.monitor.events.from(0) {
		if within(e.at) {
			t.Kernel = append(t.Kernel, e.at.Sub(began))
		}
	}
	for _, l := range r.log.from(0) {
		if within(l.Time) && r.A.is(l) && l.Level != "debug" {
			t.Agent = append(t.Agent, Moment{l.Time.Sub(began), describe(l)})
		}
	}
	var last reply
	for _, p := range r.pings.replies.from(0) {
		for missed := last.seq + 1; within(last.at) && missed < p.seq; missed++ {
			share := float64(missed-last.seq) / float64(p.seq-last.seq)
			t.Pings = append(t.Pings, Ping{At: last.at.Sub(began) + time.Duration(share*float64(p.at.Sub(last.at))), Lost: true})
		}
		if within(p.at) {
			t.Pings = append(t.Pings, Ping{At: p.at.Sub(began)})
		}
		last = p
	}
	return t, nil
}

// identity is what messages have about a link in parentheses.
var identity = regexp.MustCompile(` \([^)]*\)`)

// describe is a line of the agent's log, in short.
func describe(l Line) string {
	var what string
	switch {
	case l.Action != "":
		what = identity.ReplaceAllString(l.Action, "")
	case l.State != "":
		what = l.State
	default:
		what = strings.TrimSpace(l.Member + " " + l.Cause)
	}
	return strings.TrimSuffix(fmt.Sprintf("%s: %s", l.Msg, what), ": ")
}
