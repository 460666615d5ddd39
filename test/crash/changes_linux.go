package crash

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// describe returns what a system call is about to do; nil for one that is not counted. own is false for a child of the
// program; of a child, only the execution of another program counts.
func describe(tid int, own bool, nr uint64, args [6]uint64) *Point {
	if !own {
		if nr == unix.SYS_EXECVE {
			return &Point{Kind: Execute, What: "execute " + textAt(tid, args[0])}
		}
		return nil
	}
	switch nr {
	case unix.SYS_SENDTO:
		return describeMessage(tid, args)
	case unix.SYS_SETNS:
		return &Point{Kind: Enter, What: "enter a netns"}
	case unix.SYS_SOCKET:
		return describeSocket(args[0])
	case unix.SYS_FSOPEN, unix.SYS_FSMOUNT:
		return &Point{Kind: Mount, What: "mount sysfs"}
	}
	return describeFile(tid, nr, args)
}

func describeFile(tid int, nr uint64, args [6]uint64) *Point {
	switch nr {
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
	return nil
}

// inFile skips what is not a file: pipes, sockets, terminals, and the process's own files in /proc.
func inFile(verb, path string) *Point {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path, "/proc/self") {
		return nil
	}
	kind := File
	if strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/sys/") {
		kind = Setting
	}
	return &Point{Kind: kind, What: verb + " " + path}
}

// describeCost returns what a system call costs that changes nothing and opens no socket for links: what Count has more.
func describeCost(tid int, nr uint64, args [6]uint64) *Point {
	switch nr {
	case unix.SYS_OPENAT:
		return &Point{Kind: Open, What: "open " + textAt(tid, args[1])}
	case unix.SYS_SOCKET:
		return &Point{Kind: Socket, What: fmt.Sprint("open a socket of family ", args[0])}
	}
	return nil
}

func describeSocket(family uint64) *Point {
	switch family {
	case unix.AF_NETLINK:
		return &Point{Kind: Socket, What: "open a netlink socket"}
	case unix.AF_PACKET:
		return &Point{Kind: Socket, What: "open a packet socket"}
	}
	return nil
}

// messageNames are the most frequent requests of the programs.
var messageNames = map[uint16]string{
	unix.RTM_NEWLINK: "RTM_NEWLINK", unix.RTM_SETLINK: "RTM_SETLINK", unix.RTM_DELLINK: "RTM_DELLINK", unix.RTM_GETLINK: "RTM_GETLINK",
	unix.RTM_NEWADDR: "RTM_NEWADDR", unix.RTM_DELADDR: "RTM_DELADDR", unix.RTM_GETADDR: "RTM_GETADDR",
	unix.RTM_NEWROUTE: "RTM_NEWROUTE", unix.RTM_DELROUTE: "RTM_DELROUTE", unix.RTM_GETROUTE: "RTM_GETROUTE",
	unix.RTM_NEWNSID: "RTM_NEWNSID", unix.RTM_GETNSID: "RTM_GETNSID", unix.RTM_DELLINKPROP: "RTM_DELLINKPROP",
}

// describeMessage distinguishes changes from queries by the lower two bits of the message type (rtnl_msgtype_kind in
// net/core/rtnetlink.c).
func describeMessage(tid int, args [6]uint64) *Point {
	family := make([]byte, 2)
	if args[4] == 0 || !read(tid, args[4], family) {
		return nil
	}
	switch binary.NativeEndian.Uint16(family) {
	case unix.AF_PACKET:
		return &Point{Kind: Packet, What: "send a packet"}
	case unix.AF_NETLINK:
	default:
		return nil
	}
	h, ok := headerAt(tid, args[1])
	if !ok || uint64(h.Len) > args[2] || h.Type < unix.RTM_BASE {
		return nil
	}
	name, known := messageNames[h.Type]
	if !known {
		name = fmt.Sprint("rtnetlink request of type ", h.Type)
	}
	const query = 2
	switch {
	case (h.Type-unix.RTM_BASE)&3 != query:
		return &Point{Kind: Change, What: name}
	case h.Flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP:
		return &Point{Kind: Dump, What: name + " (dump)"}
	}
	return &Point{Kind: Query, What: name}
}

// textAt reads a path from a traced thread.
func textAt(tid int, address uint64) string {
	const page = 4096
	data := make([]byte, page-int(address%page)) // the next page may not be mapped
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

func write(tid int, address uint64, data []byte) bool {
	local := []unix.Iovec{{Base: &data[0]}}
	local[0].SetLen(len(data))
	n, err := unix.ProcessVMWritev(tid, local, []unix.RemoteIovec{{Base: uintptr(address), Len: len(data)}}, 0)
	return err == nil && n == len(data)
}
