package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// NS is an open network namespace. While it is open the netns stays alive, even after
// its last process and mount: devices in it do not come back to the host. So keep one
// open for a piece of work, never for the life of a pod.
//
// Methods are safe for concurrent use, except that Close must come after all others.
type NS struct {
	path string
	file *os.File
	id   ID
	// cookie is the one to be found inside; 0 for any.
	cookie uint64
}

// Open opens the netns that path leads to: a bind mount as container runtimes make it
// (/var/run/netns/cni-…) or a link of procfs (/proc/<pid>/ns/net). The error names the path, and
// matches ErrGone when there is nothing at the path or something that is no netns.
func Open(path string) (*NS, error) {
	// O_NONBLOCK: a FIFO at the path must not hold us up. O_CLOEXEC is os.OpenFile's own.
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

// OpenSandbox opens the netns at the sandbox's path if it is still that sandbox's. Of its identity, empty fields are not
// compared: records of older versions and older kernels have none.
//
// The error matches ErrGone if the path is gone, is no netns or leads to another one, and ErrEarlierBoot if the sandbox is
// of an earlier boot. The cookie can be read only inside: Do compares it, and fails with ErrGone.
func OpenSandbox(s bond.Sandbox) (*NS, error) {
	if s.Boot != "" {
		now, err := boot()
		if err != nil {
			return nil, fmt.Errorf("open network namespace %s: %w", s.Path, err)
		}
		if now != s.Boot {
			return nil, fmt.Errorf("%w: %s was noted in boot %s, this is %s", ErrEarlierBoot, s.Path, s.Boot, now)
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

// Identify is the identity of the netns that path leads to. Errors are those of Open.
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
	if s.Boot, err = boot(); err != nil {
		return bond.Sandbox{}, err
	}
	err = ns.Do(func() error {
		s.Cookie, err = ownCookie()
		return err
	})
	return s, err
}

// Current opens the netns of the calling thread: inside Do that which Do entered, anywhere
// else that of the process.
func Current() (*NS, error) {
	// Not /proc/self, which is the main thread; that one may be in Do for somebody else.
	return Open("/proc/thread-self/ns/net")
}

// identify answers who f is, or an error that matches ErrGone when f is no netns.
func identify(f *os.File) (ID, error) {
	fd := int(f.Fd())
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(fd, &sfs); err != nil {
		return ID{}, fmt.Errorf("statfs: %w", err)
	}
	// A runtime first unmounts a netns and then removes the file it was mounted on, so
	// a plain file at the path is a netns that has gone.
	if sfs.Type != unix.NSFS_MAGIC {
		return ID{}, fmt.Errorf("%w: the file there is not a namespace (file system type %#x)", ErrGone, sfs.Type)
	}
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil {
		return ID{}, fmt.Errorf("ask for the namespace's type: %w", err)
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

// ID is the identity of the netns.
func (ns *NS) ID() ID { return ns.id }

// Path is the path that the netns was opened by.
func (ns *NS) Path() string { return ns.path }

// Fd is the open file's descriptor, for requests that name a netns by one
// (IFLA_NET_NS_FD). It is valid until Close and must not be closed otherwise.
func (ns *NS) Fd() int { return int(ns.file.Fd()) }

// Close lets go of the netns.
func (ns *NS) Close() error { return ns.file.Close() }
