package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// quiet is how long an agent must have used no processor time to count as idle.
const quiet = 500 * time.Millisecond

// awaitIdle waits until the agent is idle. It returns when the agent was last seen working.
func (a *agent) awaitIdle(ctx context.Context) (last time.Time, err error) {
	used := a.processorTime()
	last = time.Now()
	_, err = a.await(ctx, 5*time.Minute, "idle", func(now time.Time) bool {
		if is := a.processorTime(); is != used {
			used, last = is, now
		}
		return now.Sub(last) > quiet
	})
	return last, err
}

// awaitWork waits until the agent has used so much processor time in all. It returns when that was.
func (a *agent) awaitWork(ctx context.Context, used time.Duration) (time.Time, error) {
	return a.await(ctx, time.Minute, "at work", func(time.Time) bool { return a.processorTime() >= used })
}

// allReady waits until as many bonds have been reported as Ready, and returns how long that took from the start.
func (a *agent) allReady(ctx context.Context, bonds int) (took time.Duration, err error) {
	_, err = a.await(ctx, 10*time.Minute, fmt.Sprintf("reporting %d bonds as Ready", bonds), func(time.Time) bool {
		n, last := a.log.bondsReady()
		took = last.Sub(a.began)
		return n >= bonds
	})
	return took, err
}

// await polls until is returns true, and returns when that was.
func (a *agent) await(ctx context.Context, timeout time.Duration, what string, is func(now time.Time) bool) (time.Time, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(timeout); ; {
		select {
		case now := <-tick.C:
			if is(now) {
				return now, nil
			}
			if now.After(limit) {
				return now, fmt.Errorf("the agent is not %s after %s: %s", what, timeout, a.log.String())
			}
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// kibibytes returns a field of the agent's memory, in KiB.
func (a *agent) kibibytes(field string) (kib int) {
	text, _ := os.ReadFile(a.proc("smaps_rollup"))
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, field+":"); found {
			_, _ = fmt.Sscan(rest, &kib)
		}
	}
	return kib
}

// descriptors counts the agent's open files, and the sockets among them.
func (a *agent) descriptors() (files, sockets int) {
	entries, _ := os.ReadDir(a.proc("fd"))
	for _, e := range entries {
		files++
		if target, _ := os.Readlink(filepath.Join(a.proc("fd"), e.Name())); strings.HasPrefix(target, "socket:") {
			sockets++
		}
	}
	return files, sockets
}

func (a *agent) proc(file string) string { return fmt.Sprintf("/proc/%d/%s", a.cmd.Process.Pid, file) }
