package crash

import "golang.org/x/sys/unix"

// skip makes the system call before which a thread stopped return an error. The kernel does not execute it
// (seccomp(2)).
func skip(tid int, errno uint32) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	const none = ^uint64(0)
	regs.Orig_rax, regs.Rax = none, -uint64(errno)
	return unix.PtraceSetRegs(tid, &regs)
}
