package crash

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// calls are the system calls at which the tracer is notified; openat only if it may write.
var calls = []uint32{
	unix.SYS_SENDTO, unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FALLOCATE, unix.SYS_FTRUNCATE, unix.SYS_MKDIRAT,
	unix.SYS_UNLINKAT, unix.SYS_LINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_SYMLINKAT, unix.SYS_EXECVE,
}

// callsFor are the system calls at which the tracer must stop a program for a fault. To be killed, a program stops only
// at those that outlive it. Receiving matters only if a response is to be altered.
func callsFor(f Fault) []uint32 {
	switch f.How {
	case Kill:
		return calls
	case Count:
		return append([]uint32{unix.SYS_SETNS, unix.SYS_SOCKET, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_OPENAT}, calls...)
	case Reject, Lose, Interrupt:
		return append([]uint32{unix.SYS_SETNS, unix.SYS_SOCKET, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_RECVFROM}, calls...)
	}
	return append([]uint32{unix.SYS_SETNS, unix.SYS_SOCKET, unix.SYS_FSOPEN, unix.SYS_FSMOUNT}, calls...)
}

// become turns this traced process into a program that stops for the tracer at its changes. A filter in the kernel
// selects the calls, because stopping at each one makes a program in an emulated guest ten times slower.
func become(path string, args []string, f Fault) error {
	if err := filterCalls(callsFor(f)); err != nil {
		return fmt.Errorf("install the seccomp filter: %w", err)
	}
	return unix.Exec(path, append([]string{path}, args...), os.Environ())
}

func filterCalls(calls []uint32) error {
	const (
		number, flags = 0, 16 + 2*8 // offsets of nr and args[2] in struct seccomp_data
		writes        = unix.O_CREAT | unix.O_WRONLY | unix.O_RDWR
	)
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: number, Size: 4}}
	for i, nr := range calls {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: nr, SkipTrue: uint8(len(calls) - i + 3)})
	}
	program = append(program,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_OPENAT, SkipFalse: 2},
		bpf.LoadAbsolute{Off: flags, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: writes, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
		bpf.RetConstant{Val: unix.SECCOMP_RET_TRACE},
	)
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(filter)), Filter: unsafe.SliceData(filter)}
	const allThreads = unix.SECCOMP_FILTER_FLAG_TSYNC
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, allThreads, uintptr(unsafe.Pointer(&fprog))); errno != 0 {
		return errno
	}
	return nil
}
