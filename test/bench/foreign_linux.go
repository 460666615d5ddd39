package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// foreignBatch is the number of foreign links that exist at once.
const foreignBatch = 500

// foreign measures what links of the host that concern no bond cost the agent while they come and go as fast as the
// kernel makes them.
func foreign(ctx context.Context, o *options) (r *report, err error) {
	guest, err := topology.Load()
	if err != nil {
		return nil, err
	}
	f := newFleet(o)
	defer func() { err = errors.Join(err, f.end()) }()
	if err = f.grow(ctx, 1); err != nil {
		return nil, err
	}
	a, err := startAgent(ctx, o)
	if err != nil {
		return nil, err
	}
	defer a.stop()
	if _, err = a.allReady(ctx, 1); err == nil {
		_, err = a.awaitIdle(ctx)
	}
	if err != nil {
		return nil, err
	}
	const events, relevant, overruns, allocated = "bondkeeper_kernel_events_total", "bondkeeper_kernel_events_relevant_total", "bondkeeper_kernel_event_overruns_total", "go_memstats_mallocs_total"
	before := map[string]float64{}
	for _, name := range []string{events, relevant, overruns, allocated} {
		before[name] = a.metric(name, "")
	}
	used, began := a.processorTime(), time.Now()
	if err = churn(ctx, o.foreign); err != nil {
		return nil, err
	}
	last, err := a.awaitIdle(ctx)
	if err != nil {
		return nil, err
	}
	took, cpu := last.Sub(began), a.processorTime()-used
	since := func(name string) float64 { return a.metric(name, "") - before[name] }
	n := since(events)
	r = &report{
		title: fmt.Sprintf("Foreign links: %d dummy links of the host come and go", o.foreign),
		head:  []string{"", "value"},
	}
	r.add("events", fmt.Sprintf("%.0f", n))
	r.add("of a bond", fmt.Sprintf("%.0f", since(relevant)))
	r.add("events per second", fmt.Sprintf("%.0f", n/took.Seconds()))
	r.add("overruns", fmt.Sprintf("%.0f", since(overruns)))
	r.add("agent, processor time per event, µs", fmt.Sprintf("%.0f", cpu.Seconds()*1e6/max(n, 1)))
	r.add("agent, events per second of processor time", fmt.Sprintf("%.0f", n/max(cpu.Seconds(), 0.01)))
	r.add("agent, share of a processor, %", percent(float64(cpu)/float64(took)))
	r.remarks = append(r.remarks, fmt.Sprintf("Linux %s under %s, %s, which also makes the links. That such an event allocates nothing is a test: `TestForeignEventIsFree`, `TestReceiveIsFree`.", guest.Kernel, guest.Accel, processors()))
	return r, nil
}

// churn makes and deletes links, some hundred at a time: ip needs one message for a group's deletion.
func churn(ctx context.Context, links int) error {
	for made := 0; made < links && ctx.Err() == nil; made += foreignBatch {
		var batch strings.Builder
		for i := range min(foreignBatch, links-made) {
			fmt.Fprintf(&batch, "link add foreign%d group 77 type dummy\n", i)
		}
		batch.WriteString("link delete group 77\n")
		if err := (kit.Links{}).Batch("", batch.String()); err != nil {
			return err
		}
	}
	return ctx.Err()
}
