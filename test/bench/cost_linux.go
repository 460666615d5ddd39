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
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	used := a.processorTime()
	last = time.Now()
	for limit := last.Add(5 * time.Minute); ; {
		select {
		case now := <-tick.C:
			if is := a.processorTime(); is != used {
				used, last = is, now
			}
			if now.Sub(last) > quiet {
				return last, nil
			}
			if now.After(limit) {
				return last, fmt.Errorf("the agent is not idle after 5 minutes: %s", a.log.String())
			}
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
}

// awaitWork waits until the agent has used so much processor time in all. It returns when that was.
func (a *agent) awaitWork(ctx context.Context, used time.Duration) (time.Time, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); ; {
		select {
		case now := <-tick.C:
			if a.processorTime() >= used {
				return now, nil
			}
			if now.After(limit) {
				return now, fmt.Errorf("the agent does not work after a minute: %s", a.log.String())
			}
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// allReady waits until as many bonds have been reported as Ready, and returns how long that took from the start.
func (a *agent) allReady(ctx context.Context, bonds int) (time.Duration, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(10 * time.Minute); ; {
		if n, last := a.log.bondsReady(); n >= bonds {
			return last.Sub(a.began), nil
		}
		select {
		case now := <-tick.C:
			if now.After(limit) {
				return 0, fmt.Errorf("not all of %d bonds are Ready after 10 minutes: %s", bonds, a.log.String())
			}
		case <-ctx.Done():
			return 0, ctx.Err()
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
