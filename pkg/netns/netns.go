package netns

import (
	"errors"
	"fmt"
)

// ErrGone: the path leads to no netns any more, or to another one than it did. The
// sandbox that it belonged to is dead. An error that does not match it, such as a
// lack of file descriptors, says nothing about the netns.
var ErrGone = errors.New("network namespace is gone")

// ErrEarlierBoot: the netns was one of a boot that has ended. It is gone, as ErrGone says
// too, and what else was noted with it (ifindexes, who has which device) means nothing now.
var ErrEarlierBoot = fmt.Errorf("%w with the boot that it was made in", ErrGone)

// ID tells network namespaces apart: the device and inode of the namespace's file in
// the kernel's nsfs (namespaces(7)). It is the same through every path and in every
// mount namespace, and comparable with ==.
//
// The kernel gives the inode number of a dead netns to a later one, often to the very
// next (ida_alloc in proc_alloc_inum, fs/proc/generic.c). So an ID proves nothing by
// itself: compare it with what the netns's own path leads to now, and see bond.Sandbox.
type ID struct {
	Dev, Inode uint64
}

// String is the form of the links in /proc/<pid>/ns, with the device: "net:[4026531840] on device 4".
func (id ID) String() string { return fmt.Sprintf("net:[%d] on device %d", id.Inode, id.Dev) }
