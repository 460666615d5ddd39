package ipam

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestOrphansAreReaped: a plugin ends before a process that it started. If the agent is process 1 of its container, that
// process becomes its child, and a zombie. Plugins that run meanwhile have their own exit status.
func TestOrphansAreReaped(t *testing.T) {
	kit.Must(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) // as process 1
	defer func() { kit.Must(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)) }()
	dir := t.TempDir()
	plugin, pidFile, fifo := filepath.Join(dir, "p"), filepath.Join(dir, "pid"), filepath.Join(dir, "fifo")
	kit.Must(t, unix.Mkfifo(fifo, 0o600))
	kit.Must(t, os.WriteFile(plugin, []byte("#!/bin/sh\n(read -r line <$FIFO) >/dev/null 2>&1 & echo $! >$PID_FILE; exit $CODE\n"), 0o700)) //nolint:gosec // a program
	call := func(code int) (orphan string) {
		_, err := (&pluginExec{}).run(t.Context(), plugin, nil, []string{"FIFO=" + fifo, "PID_FILE=" + pidFile, fmt.Sprintf("CODE=%d", code)})
		if (err != nil) != (code != 0) || (err != nil && !strings.Contains(err.Error(), fmt.Sprintf("exit status %d", code))) {
			t.Errorf("exit status %d: %v", code, err)
		}
		pid, err := os.ReadFile(pidFile)
		kit.Must(t, err, os.WriteFile(fifo, []byte("\n"), 0)) // the orphan ends
		return "/proc/" + strings.TrimSpace(string(pid)) + "/stat"
	}
	stat := call(0)
	state := func() string {
		text, err := os.ReadFile(stat)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			return "gone"
		}
		return string(text)
	}
	kit.Eventually(t, "a zombie", func() bool { return strings.Contains(state(), ") Z ") }, state)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); ReapOrphans(ctx) }()
	for code := range 20 {
		kit.Eventually(t, "the end of the zombie", func() bool { return state() == "gone" }, state)
		stat = call(code)
	}
	stop()
	<-done
}
