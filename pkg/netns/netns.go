// Package netns opens network namespaces, tells them apart and runs functions in
// them. It is the only home of setns(2) and of thread locking.
//
// It knows namespaces and nothing of what is in them: it uses no netlink and no
// other package of Bondkeeper. Opening, entering and comparing need Linux; the identity
// and the error are defined everywhere.
package netns

import (
	"errors"
	"fmt"
)

// ErrGone: the path leads to no netns any more, or to another one than it did. The
// sandbox that it belonged to is dead. An error that does not match it, such as a
// lack of file descriptors, says nothing about the netns.
var ErrGone = errors.New("network namespace is gone")

// ID tells network namespaces apart: the device and inode of the namespace's file in
// the kernel's nsfs (namespaces(7)). It is the same through every path and in every
// mount namespace, and comparable with ==.
//
// The kernel gives the inode number of a dead netns to a later one, often to the very
// next (ida_alloc in proc_alloc_inum, fs/proc/generic.c). So an ID proves nothing by
// itself: compare it with what the netns's own path leads to now. Container runtimes use
// a path once only, which makes path and ID together unique within a boot; a path
// under /proc/<pid> is used again when the pid is.
type ID struct {
	Dev, Inode uint64
}

// String is the form of the links in /proc/<pid>/ns, with the device: "net:[4026531840] on device 4".
func (id ID) String() string { return fmt.Sprintf("net:[%d] on device %d", id.Inode, id.Dev) }
