package crash

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// response is the kernel's response to an rtnetlink request, which is altered before the program reads it.
type response struct {
	socket  uint64 // the descriptor on which it arrives
	seq     uint32
	buffers map[int]uint64 // by receiving thread: the address of its buffer
	altered bool
}

// expect prepares to alter the response to a request that a thread is about to send. The request is altered, too,
// unless the kernel is to execute it.
func expect(tid int, args [6]uint64, f Fault) (*response, error) {
	h, ok := headerAt(tid, args[1])
	if !ok {
		return nil, fmt.Errorf("thread %d: no message to be answered with an error", tid)
	}
	if f.How == Reject { // a message without meaning, which the kernel acknowledges (netlink_rcv_skb)
		h.Type, h.Flags = unix.NLMSG_NOOP, unix.NLM_F_REQUEST|unix.NLM_F_ACK
		if !write(tid, args[1], bytesOf(&h)) {
			return nil, fmt.Errorf("thread %d: the request cannot be altered", tid)
		}
	}
	return &response{socket: args[0], seq: h.Seq, buffers: map[int]uint64{}}, nil
}

// expected reports whether what a thread receives next may be the response.
func (a *response) expected(tid int, args [6]uint64) bool {
	if a == nil || a.altered || args[0] != a.socket {
		return false
	}
	a.buffers[tid] = args[1]
	return true
}

// received alters what a thread has received, if it is the response.
func (a *response) received(tid int, f Fault) error {
	size := resultOf(tid)
	if size < unix.SizeofNlMsghdr {
		return nil
	}
	data := make([]byte, size)
	if !read(tid, a.buffers[tid], data) {
		return fmt.Errorf("thread %d: the response cannot be read", tid)
	}
	for offset := 0; offset+unix.SizeofNlMsghdr <= len(data); {
		h := (*unix.NlMsghdr)(unsafe.Pointer(&data[offset]))
		if h.Len < unix.SizeofNlMsghdr {
			break
		}
		if h.Seq == a.seq {
			a.alter(h, data[offset+unix.SizeofNlMsghdr:], f)
		}
		offset += int(h.Len+unix.NLMSG_ALIGNTO-1) &^ (unix.NLMSG_ALIGNTO - 1)
	}
	if !write(tid, a.buffers[tid], data) {
		return fmt.Errorf("thread %d: the response cannot be altered", tid)
	}
	return nil
}

func (a *response) alter(h *unix.NlMsghdr, body []byte, f Fault) {
	switch {
	case f.How == Interrupt:
		h.Flags |= unix.NLM_F_DUMP_INTR
	case h.Type == unix.NLMSG_ERROR:
		binary.NativeEndian.PutUint32(body, -f.Errno)
	default:
		return
	}
	a.altered = true
}

// headerAt reads the header of a netlink message from a traced thread.
func headerAt(tid int, address uint64) (h unix.NlMsghdr, ok bool) {
	ok = read(tid, address, bytesOf(&h))
	return h, ok
}

func bytesOf(h *unix.NlMsghdr) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(h)), unsafe.Sizeof(*h))
}

// resultOf returns the result of the system call at whose end a thread has stopped; negative for an error.
func resultOf(tid int) int64 {
	var info struct {
		op   uint8
		_    [3]uint8
		arch uint32
		_    [2]uint64
		rval int64
		_    [8]uint64
	}
	_, _, _ = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	return info.rval
}
