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

// stage is the program name with which the tracer runs this binary to become the program; see become.
const stage = "stage"

// tracer runs one program, and kills it or makes one of its system calls fail.
type tracer struct {
	pid      int
	fault    Fault
	report   Report
	own      map[int]bool // by thread: whether it belongs to the program itself
	response *response    // the response to alter; nil if there is none
	err      error        // of the tracer itself; the first one
}

// trace runs a program with this process's standard files and environment. It returns when the program and all its
// children have ended: as without a tracer, a child continues when its parent is killed.
func trace(path string, args []string, fault Fault) (report Report, status syscall.WaitStatus, err error) {
	runtime.LockOSThread()         //nolint:forbidigo // ptrace requests must come from the thread that is the tracer
	defer runtime.UnlockOSThread() //nolint:forbidigo // as above
	if err = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return report, status, err
	}
	cmd := exec.Command("/proc/self/exe", append([]string{path}, args...)...)
	cmd.Args[0] = stage
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err = cmd.Start(); err != nil {
		return report, status, err
	}
	t := &tracer{pid: cmd.Process.Pid, fault: fault, own: map[int]bool{}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM)
	go func() {
		for range signals {
			_ = unix.Kill(t.pid, unix.SIGTERM)
		}
	}()
	if _, err = unix.Wait4(t.pid, nil, unix.WALL, nil); err != nil { // stopped after its execve
		return report, status, err
	}
	const options = unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	if err = unix.PtraceSetOptions(t.pid, options); err != nil {
		return report, status, err
	}
	if err = unix.PtraceCont(t.pid, 0); err != nil {
		return report, status, err
	}
	status, err = t.loop()
	if t.response != nil && !t.response.altered {
		t.fail(fmt.Errorf("no response to the request of point %d", t.report.Hit))
	}
	return t.report, status, errors.Join(err, t.err)
}

// loop handles the stops of all threads until there are none left.
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
		deliver, toExit := t.stopped(tid, ws)
		proceed := unix.PtraceCont
		if toExit {
			proceed = unix.PtraceSyscall
		}
		// A thread that was killed meanwhile is gone: its end is reported separately.
		if err := proceed(tid, deliver); err != nil && !errors.Is(err, unix.ESRCH) {
			return status, fmt.Errorf("continue thread %d: %w", tid, err)
		}
	}
}

// stopped handles one stop. It returns the signal to deliver to the thread, and whether it stops again at the end of
// its system call.
func (t *tracer) stopped(tid int, ws unix.WaitStatus) (deliver int, toExit bool) {
	const atExit = unix.SIGTRAP | 0x80 // PTRACE_O_TRACESYSGOOD
	switch s := ws.StopSignal(); {
	case s == unix.SIGTRAP && ws.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
		return 0, t.call(tid)
	case s == atExit:
		t.fail(t.response.received(tid, t.fault))
	case s == unix.SIGTRAP, s == unix.SIGSTOP: // another ptrace event, and a new thread's first stop
	default:
		return int(s), false
	}
	return 0, false
}

// fail records an error of the tracer itself, which makes its result invalid.
func (t *tracer) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// call counts a system call that begins, and causes the fault if it is due. It reports whether the thread must also
// stop at the call's end.
func (t *tracer) call(tid int) (toExit bool) {
	own, known := t.own[tid]
	if !known {
		own = groupOf(tid) == t.pid
		t.own[tid] = own
	}
	c := callOf(tid)
	if c.nr == unix.SYS_RECVFROM {
		return own && t.response.expected(tid, c.args)
	}
	what := describe(tid, own, c.nr, c.args)
	if t.fault.How == Count && own && what == nil {
		what = describeCost(tid, c.nr, c.args)
	}
	if what == nil || !t.fault.counts(what.Kind) || t.fault.How == Kill && t.report.Hit > 0 {
		return false
	}
	t.report.Points = append(t.report.Points, *what)
	n := len(t.report.Points)
	if t.report.Hit > 0 || !t.fault.due(n, what.Kind) {
		return false
	}
	t.report.Hit = n
	switch t.fault.How {
	case Kill:
		_ = unix.Kill(t.pid, unix.SIGKILL) // the kernel then skips the call (__seccomp_filter)
	case Fail:
		t.fail(skip(tid, t.fault.Errno))
	default:
		var err error
		t.response, err = expect(tid, c.args, t.fault)
		t.fail(err)
	}
	return false
}

// groupOf is the process of a thread; 0 if it has ended.
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

// call is a system call at which a thread stopped (struct ptrace_syscall_info).
type call struct {
	nr   uint64
	args [6]uint64
}

// callOf returns the system call before which a thread stopped.
func callOf(tid int) call {
	var info struct {
		op   uint8
		_    [3]uint8
		arch uint32
		_    [2]uint64 // instruction and stack pointer
		call call
		_    [2]uint64
	}
	// For a thread that was killed meanwhile everything is zero, which matches no call.
	_, _, _ = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	return info.call
}
