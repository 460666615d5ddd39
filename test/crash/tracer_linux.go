package crash

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stage is the name under which the tracer runs this binary to become the program; see become.
const stage = "stage"

// tracer runs one program and kills it.
type tracer struct {
	pid  int
	kill int // before which change; 0 for none
	// changes are what the program changed, the one before which it was killed included.
	changes []string
	own     map[int]bool // by thread: whether it is one of the program's own
}

// trace runs a program with this process's standard files and environment. It returns when the program and all its children
// have ended: a child goes on when its parent is killed, as without a tracer.
func trace(path string, args []string, kill int) (changes []string, status syscall.WaitStatus, err error) {
	runtime.LockOSThread()         //nolint:forbidigo // ptrace requests must come from the thread that is the tracer
	defer runtime.UnlockOSThread() //nolint:forbidigo // as above
	if err = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, status, err
	}
	cmd := exec.Command("/proc/self/exe", append([]string{path}, args...)...)
	cmd.Args[0] = stage
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err = cmd.Start(); err != nil {
		return nil, status, err
	}
	t := &tracer{pid: cmd.Process.Pid, kill: kill, own: map[int]bool{}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM)
	go func() {
		for range signals {
			_ = unix.Kill(t.pid, unix.SIGTERM)
		}
	}()
	if _, err = unix.Wait4(t.pid, nil, unix.WALL, nil); err != nil { // stopped behind its execve
		return nil, status, err
	}
	const options = unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	if err = unix.PtraceSetOptions(t.pid, options); err != nil {
		return nil, status, err
	}
	if err = unix.PtraceCont(t.pid, 0); err != nil {
		return nil, status, err
	}
	status, err = t.loop()
	return t.changes, status, err
}

// loop handles the stops of all threads until none is left.
func (t *tracer) loop() (status syscall.WaitStatus, err error) {
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return status, nil
		case err != nil:
			return status, err
		}
		if !ws.Stopped() {
			if tid == t.pid {
				status = syscall.WaitStatus(ws)
			}
			delete(t.own, tid)
			continue
		}
		// A thread that was killed meanwhile is gone: its end is reported by itself.
		if err := unix.PtraceCont(tid, t.stopped(tid, ws)); err != nil && !errors.Is(err, unix.ESRCH) {
			return status, fmt.Errorf("continue thread %d: %w", tid, err)
		}
	}
}

// stopped handles one stop and returns the signal that the thread is to get.
func (t *tracer) stopped(tid int, ws unix.WaitStatus) (deliver int) {
	switch s := ws.StopSignal(); {
	case s == unix.SIGTRAP && ws.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
		t.call(tid)
	case s == unix.SIGTRAP, s == unix.SIGSTOP: // another event of ptrace, and a new thread's first stop
	default:
		return int(s)
	}
	return 0
}

// call counts a system call that begins, and kills the program if its time has come.
func (t *tracer) call(tid int) {
	own, known := t.own[tid]
	if !known {
		own = groupOf(tid) == t.pid
		t.own[tid] = own
	}
	nr, args := callOf(tid)
	what := describe(tid, own, nr, args)
	if what == "" || t.kill > 0 && len(t.changes) == t.kill {
		return
	}
	if t.changes = append(t.changes, what); len(t.changes) == t.kill {
		_ = unix.Kill(t.pid, unix.SIGKILL) // the kernel then skips the call (__seccomp_filter)
	}
}

// groupOf is the process of a thread; 0 if it is gone.
func groupOf(tid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	for line := range bytes.Lines(text) {
		if value, found := strings.CutPrefix(string(line), "Tgid:"); found {
			pid, _ := strconv.Atoi(strings.TrimSpace(value))
			return pid
		}
	}
	return 0
}

// callOf asks for the system call before which a thread stopped (struct ptrace_syscall_info).
func callOf(tid int) (nr uint64, args [6]uint64) {
	var info struct {
		op   uint8
		_    [3]uint8
		arch uint32
		_    [2]uint64 // instruction and stack pointer
		nr   uint64
		args [6]uint64
		_    [2]uint64
	}
	// For a thread that was killed meanwhile all is zero, which describes no change.
	_, _, _ = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	return info.nr, info.args
}
