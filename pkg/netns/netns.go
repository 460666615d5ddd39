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

// ErrEarlierBoot: the netns was one of a boot that has ended. It is gone, as ErrGone says
// too, and what else was noted with it (ifindexes, who has which device) means nothing now.
var ErrEarlierBoot = fmt.Errorf("%w with the boot that it was made in", ErrGone)

// ID tells network namespaces apart: the device and inode of the namespace's file in
// the kernel's nsfs (namespaces(7)). It is the same through every path and in every
// mount namespace, and comparable with ==.
//
// The kernel gives the inode number of a dead netns to a later one, often to the very
// next (ida_alloc in proc_alloc_inum, fs/proc/generic.c). So an ID proves nothing by
// itself: compare it with what the netns's own path leads to now, and see Identity.
type ID struct {
	Dev, Inode uint64
}

// String is the form of the links in /proc/<pid>/ns, with the device: "net:[4026531840] on device 4".
func (id ID) String() string { return fmt.Sprintf("net:[%d] on device %d", id.Inode, id.Dev) }

// Identity is an ID and what tells its netns from all that had the ID before or get it
// later. A field that is empty or 0 is not known and is compared with nothing: notes
// of older versions and of older kernels have none.
type Identity struct {
	ID
	// Boot is the ID that the kernel gave itself when it started (random(4), boot_id).
	Boot string
	// Cookie is the netns's serial number (SO_NETNS_COOKIE, Linux 5.14), which is given once
	// in a boot.
	Cookie uint64
}
