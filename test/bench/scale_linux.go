package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const (
	// scaleLosses is the number of events that are timed with each number of bonds, at most one per bond: a member
	// that is lost again soon is held back.
	scaleLosses = 8
	// meanRest is the mean pause between two resyncs of a bond at rest (pkg/reconcile/controller: 30 minutes, up to a
	// third shorter).
	meanRest = 25 * time.Minute
)

// scale measures what an agent costs a node with few and many bonds.
func scale(ctx context.Context, o *options) (r *report, err error) {
	guest, err := topology.Load()
	if err != nil {
		return nil, err
	}
	r = &report{
		title: "Scale: an agent with some number of bonds of two dummy links",
		head: []string{"bonds", "start, s", "one event, ms", "all reconciled, s", "per bond, ms", "CPU when idle, %", "CPU at rest, %",
			"RSS, MiB", "PSS, MiB", "goroutines", "files", "sockets"},
		plot: &plot{title: "From the release of a member until it is in the bond again; medians in red"},
	}
	f := newFleet(o)
	defer func() { err = errors.Join(err, f.end()) }()
	for _, bonds := range o.bonds {
		if err = f.grow(ctx, bonds); err == nil {
			err = measureScale(ctx, o, f, r)
		}
		if err != nil {
			return nil, fmt.Errorf("%d bonds: %w", bonds, err)
		}
	}
	r.remarks = append(r.remarks,
		fmt.Sprintf("Linux %s under %s, %s. *One event*: from the release of a member until it is in the bond again, median of at most %d.", guest.Kernel, guest.Accel, processors(), scaleLosses),
		fmt.Sprintf("*All reconciled*: every bond is reconciled once, until the agent is idle again. *When idle*: measured for %s without a resync. "+
			"*At rest*: the same, with the resyncs of bonds at rest, one in %s on average, at the processor time of *all reconciled*.", o.rest, meanRest))
	return r, nil
}

// measureScale adds a row for the fleet as it is.
func measureScale(ctx context.Context, o *options, f *fleet, r *report) error {
	a, err := startAgent(ctx, o, "--resync", "2h")
	if err != nil {
		return err
	}
	defer a.stop()
	start, err := a.allReady(ctx, len(f.pods))
	if err == nil {
		_, err = a.awaitIdle(ctx)
	}
	if err != nil {
		return err
	}
	events, err := timeEvents(ctx, a, f)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, a.log.String())
	}
	wall, cpu, err := reconcileAll(ctx, a, len(f.pods))
	if err != nil {
		return err
	}
	idle, err := a.idle(ctx, o.rest)
	if err != nil {
		return err
	}
	rest := idle + float64(cpu)/float64(meanRest)
	files, sockets := a.descriptors()
	bonds := len(f.pods)
	r.add(fmt.Sprint(bonds), seconds(start), millis(events.median()), seconds(wall), millis(cpu/time.Duration(bonds)), percent(idle), percent(rest),
		mebibytes(a.kibibytes("Rss")), mebibytes(a.kibibytes("Pss")), fmt.Sprint(a.metric("go_goroutines", "")), fmt.Sprint(files), fmt.Sprint(sockets))
	r.plot.rows = append(r.plot.rows, plotRow{fmt.Sprintf("%d bonds", bonds), events})
	fmt.Fprintln(os.Stderr, "bench:", strings.Join(r.rows[len(r.rows)-1], " | ")) // progress: the whole takes long
	return nil
}

// timeEvents releases members of several pods in turn, and times the repairs.
func timeEvents(ctx context.Context, a *agent, f *fleet) (all samples, err error) {
	losses := min(scaleLosses, len(f.pods))
	for i := range losses {
		p, err := watchPod(f.pods[i*len(f.pods)/losses])
		if err != nil {
			return nil, err
		}
		began := time.Now()
		err = p.release(ctx)
		var at time.Time
		if err == nil {
			at, err = p.recovered(ctx)
		}
		if err = errors.Join(err, p.close()); err != nil {
			return nil, err
		}
		all = append(all, at.Sub(began))
		if _, err = a.awaitIdle(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// reconcileAll moves the directory of the records away and back, after which the agent reconciles every bond, and waits
// until that is done. It returns how long it took from then on, and the agent's processor time. The agent may begin some
// seconds later: a listing of the records waits for three times the duration of the one before.
func reconcileAll(ctx context.Context, a *agent, bonds int) (wall, cpu time.Duration, err error) {
	const elsewhere = store.DefaultDir + ".moved"
	used := a.processorTime()
	if err = os.Rename(store.DefaultDir, elsewhere); err == nil {
		err = os.Rename(elsewhere, store.DefaultDir)
	}
	if err != nil {
		return 0, 0, err
	}
	began, err := a.awaitWork(ctx, used+max(10, time.Duration(bonds))*time.Millisecond)
	if err != nil {
		return 0, 0, err
	}
	last, err := a.awaitIdle(ctx)
	return last.Sub(began), a.processorTime() - used, err
}

// idle returns the share of a processor that the agent uses while nothing happens.
func (a *agent) idle(ctx context.Context, during time.Duration) (float64, error) {
	used := a.processorTime()
	select {
	case <-time.After(during):
		return float64(a.processorTime()-used) / float64(during), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }
func percent(share float64) string   { return fmt.Sprintf("%.2f", 100*share) }
func mebibytes(kib int) string       { return fmt.Sprintf("%.1f", float64(kib)/1024) }
