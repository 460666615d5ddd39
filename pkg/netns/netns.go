package netns

import (
	"errors"
	"fmt"
)

// ErrGone: the path no longer leads to a netns, or leads to another one. The
// sandbox that it belonged to is dead. With any other error, such as a
// lack of file descriptors, nothing is known about the netns.
var ErrGone = errors.New("network namespace is gone")

// ErrEarlierBoot: the netns was one of a boot that has ended. It also matches ErrGone. What was recorded with the netns
// (ifindexes, owners of devices) is no longer valid.
var ErrEarlierBoot = fmt.Errorf("%w with the boot in which it was created", ErrGone)

// ID distinguishes network namespaces: the device and inode of the namespace's file in
// the kernel's nsfs (namespaces(7)). It is the same through every path and in every
// mount namespace, and comparable with ==.
//
// The kernel reuses the inode number of a dead netns, often for the next one (ida_alloc in proc_alloc_inum,
// fs/proc/generic.c). So an ID alone proves nothing: compare it with that of the netns at the path, and see
// bond.Sandbox.
type ID struct {
	Dev, Inode uint64
}

// String returns the form of the links in /proc/<pid>/ns, with the device: "net:[4026531840] on device 4".
func (id ID) String() string { return fmt.Sprintf("net:[%d] on device %d", id.Inode, id.Dev) }
