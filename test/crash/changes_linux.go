package crash

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// describe says what a system call is about to change; empty for one that changes nothing that outlives its process. own is
// false for a child of the program, of which only the execution of another program counts.
func describe(tid int, own bool, nr uint64, args [6]uint64) string {
	if !own {
		if nr == unix.SYS_EXECVE {
			return "execute " + textAt(tid, args[0])
		}
		return ""
	}
	switch nr {
	case unix.SYS_SENDTO:
		return describeMessage(tid, args[1], args[2])
	case unix.SYS_OPENAT:
		if args[2]&(unix.O_CREAT|unix.O_WRONLY|unix.O_RDWR) != 0 {
			return inFile("open for writing", textAt(tid, args[1]))
		}
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FALLOCATE, unix.SYS_FTRUNCATE:
		path, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, args[0]))
		return inFile("write", path)
	case unix.SYS_MKDIRAT:
		return inFile("make directory", textAt(tid, args[1]))
	case unix.SYS_UNLINKAT:
		return inFile("remove", textAt(tid, args[1]))
	case unix.SYS_LINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return inFile("rename to", textAt(tid, args[3]))
	case unix.SYS_SYMLINKAT:
		return inFile("link", textAt(tid, args[2]))
	}
	return ""
}

// inFile leaves out what is no file: pipes, sockets, terminals, and the process's own files below /proc.
func inFile(verb, path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path, "/proc/self") {
		return ""
	}
	return verb + " " + path
}

// describeMessage tells a request that changes something from a query: the lower two bits of a type say which it is
// (rtnl_msgtype_kind in net/core/rtnetlink.c).
func describeMessage(tid int, address, size uint64) string {
	const header, query = unix.SizeofNlMsghdr, 2
	data := make([]byte, header)
	if size < header || !read(tid, address, data) || uint64(binary.NativeEndian.Uint32(data)) > size {
		return ""
	}
	kind := binary.NativeEndian.Uint16(data[4:])
	if kind < unix.RTM_BASE || (kind-unix.RTM_BASE)&3 == query {
		return ""
	}
	return fmt.Sprintf("rtnetlink request of type %d", kind)
}

// textAt reads a path from a traced thread.
func textAt(tid int, address uint64) string {
	const page = 4096
	data := make([]byte, page-int(address%page)) // what follows may not be mapped
	if !read(tid, address, data) {
		return ""
	}
	if end := bytes.IndexByte(data, 0); end >= 0 {
		return string(data[:end])
	}
	rest := make([]byte, page)
	if !read(tid, address+uint64(len(data)), rest) {
		return ""
	}
	data = append(data, rest...)
	return string(data[:max(0, bytes.IndexByte(data, 0))])
}

func read(tid int, address uint64, data []byte) bool {
	local := []unix.Iovec{{Base: &data[0]}}
	local[0].SetLen(len(data))
	n, err := unix.ProcessVMReadv(tid, local, []unix.RemoteIovec{{Base: uintptr(address), Len: len(data)}}, 0)
	return err == nil && n == len(data)
}
