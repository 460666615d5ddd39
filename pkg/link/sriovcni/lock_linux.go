package sriovcni

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Locks are sriov-cni's locks on VFs. It holds a VF's lock during its ADD and DEL.
type Locks struct {
	// Dir has one file per VF. If it is missing, sriov-cni does not lock, and no lock is taken.
	Dir string
}

// TryLock takes the lock of one VF. If another process has it, the error matches bond.ErrInUse. The kernel frees the
// lock of a process that dies.
func (l Locks) TryLock(pci bond.PCIAddress) (unlock func(), err error) {
	if _, err = bond.ParsePCIAddress(string(pci)); err != nil { // it becomes a path
		return nil, err
	}
	if _, err = os.Lstat(l.Dir); errors.Is(err, fs.ErrNotExist) { // instead of two attempts to open the file
		return func() {}, nil
	}
	path := filepath.Join(l.Dir, string(pci)+".lock")
	f, err := openLock(path)
	if err != nil {
		return nil, fmt.Errorf("sriov-cni's lock on VF %s: %w", pci, err)
	}
	if f == nil {
		return func() {}, nil
	}
	if err = acquire(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("sriov-cni's lock on VF %s: %s: %w", pci, path, err)
	}
	return func() {
		// Unlocked before it is closed: a process that is being started at this moment has a copy
		// of the descriptor, so closing alone would leave the file locked.
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
		_ = f.Close()
	}, nil
}

// openLock opens a lock file read-only, which flock allows and for which CAP_DAC_READ_SEARCH suffices: sriov-cni
// creates the directory with mode 0600, which does not allow searching it. It returns nil if sriov-cni does not lock
// this VF.
//
// A version that locks creates the file at the VF's ADD and never removes it. So a VF without one was attached by an
// older version or by another plugin. The file is created then, because a DEL by a newer version would lock it. A
// process that may not create it continues without a lock, as with versions that do not lock.
func openLock(path string) (*os.File, error) {
	const flags = os.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK
	f, err := os.OpenFile(path, flags, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	f, err = os.OpenFile(path, flags|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return nil, nil
	}
	return f, err
}

func acquire(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("%w: another process is changing that VF", bond.ErrInUse)
		}
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
