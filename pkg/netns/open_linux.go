package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// NS is an open network namespace. While it is open the netns stays alive, even after
// its last process and mount, and devices in it do not return to the host. So keep one
// open for one operation, never for the life of a pod.
//
// Methods are safe for concurrent use, except that Close must be called after all others.
type NS struct {
	path string
	file *os.File
	id   ID
	// cookie is the expected one; 0 for any.
	cookie uint64
	// verified: the cookie was compared.
	verified atomic.Bool
}

// Open opens the netns that path leads to: a bind mount as container runtimes create it
// (/var/run/netns/cni-…) or a link of procfs (/proc/<pid>/ns/net). The error names the path, and
// matches ErrGone if there is nothing at the path, or not a netns.
func Open(path string) (*NS, error) {
	// O_NONBLOCK: a FIFO at the path must not block. O_CLOEXEC is set by os.OpenFile.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		// ENOTDIR: a directory of the path was replaced. ESRCH: the process of a path under
		// /proc/<pid> ended between the lookup and the open.
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ESRCH) {
			return nil, fmt.Errorf("%w: %w", ErrGone, err)
		}
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	id, err := identify(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	return &NS{path: path, file: f, id: id}, nil
}

// OpenSandbox opens the netns at the sandbox's path if it is still that sandbox's. Empty fields of its identity are not
// compared: records of older versions, and records on older kernels, do not have them.
//
// The error matches ErrGone if the path is missing, is not a netns or leads to another one, and ErrEarlierBoot if the
// sandbox is of an earlier boot. The cookie can be read only inside: Do compares it, and fails with ErrGone.
func OpenSandbox(s bond.Sandbox) (*NS, error) {
	if s.Boot != "" {
		now, err := boot.get()
		if err != nil {
			return nil, fmt.Errorf("open network namespace %s: %w", s.Path, err)
		}
		if now != s.Boot {
			return nil, fmt.Errorf("%w: %s was recorded in boot %s, this is %s", ErrEarlierBoot, s.Path, s.Boot, now)
		}
	}
	ns, err := Open(s.Path)
	if err != nil {
		return nil, err
	}
	if want := (ID{Dev: s.Dev, Inode: s.Inode}); ns.id != want {
		_ = ns.Close()
		return nil, fmt.Errorf("%w: %s leads to %s now, it was %s", ErrGone, s.Path, ns.id, want)
	}
	ns.cookie = s.Cookie
	return ns, nil
}

// Identify returns the identity of the netns that path leads to. Errors are those of Open.
func Identify(path string) (ID, error) {
	ns, err := Open(path)
	if err != nil {
		return ID{}, err
	}
	return ns.id, ns.Close()
}

// SandboxAt returns the complete identity of the netns at path. Errors are those of Open.
func SandboxAt(path string) (bond.Sandbox, error) {
	ns, err := Open(path)
	if err != nil {
		return bond.Sandbox{}, err
	}
	defer func() { _ = ns.Close() }()
	s := bond.Sandbox{Path: path, Dev: ns.id.Dev, Inode: ns.id.Inode}
	if s.Boot, err = boot.get(); err != nil {
		return bond.Sandbox{}, err
	}
	err = ns.Do(func() error {
		s.Cookie, err = ownCookie()
		return err
	})
	return s, err
}

// Current opens the netns of the calling thread: inside Do the one that Do entered, anywhere
// else that of the process.
func Current() (*NS, error) {
	// Not /proc/self, which is the main thread; that one may be in another call of Do.
	return Open("/proc/thread-self/ns/net")
}

// identify returns the identity of f, or an error that matches ErrGone if f is not a netns.
func identify(f *os.File) (ID, error) {
	fd := int(f.Fd())
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(fd, &sfs); err != nil {
		return ID{}, fmt.Errorf("statfs: %w", err)
	}
	// A runtime first unmounts a netns and then removes the file under the mount, so
	// a regular file at the path is a netns that has ended.
	if sfs.Type != unix.NSFS_MAGIC {
		return ID{}, fmt.Errorf("%w: the file there is not a namespace (file system type %#x)", ErrGone, sfs.Type)
	}
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil {
		return ID{}, fmt.Errorf("read the namespace type: %w", err)
	}
	if kind != unix.CLONE_NEWNET {
		return ID{}, fmt.Errorf("%w: the file there is a namespace of another type (%#x)", ErrGone, kind)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return ID{}, fmt.Errorf("stat: %w", err)
	}
	return ID{Dev: st.Dev, Inode: st.Ino}, nil
}

// ID returns the identity of the netns.
func (ns *NS) ID() ID { return ns.id }

// AtPath reports whether its path still leads to the netns. It opens nothing.
func (ns *NS) AtPath() bool {
	var st unix.Stat_t
	err := unix.Stat(ns.path, &st)
	return err == nil && ns.id == (ID{Dev: st.Dev, Inode: st.Ino})
}

// Path returns the path by which the netns was opened.
func (ns *NS) Path() string { return ns.path }

// Fd returns the open file's descriptor, for requests that name a netns by one
// (IFLA_NET_NS_FD). It is valid until Close and must not be closed otherwise.
func (ns *NS) Fd() int { return int(ns.file.Fd()) }

// Close closes the netns.
func (ns *NS) Close() error { return ns.file.Close() }
