package sriovcni

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

const vf = bond.PCIAddress("0000:01:10.0")

// hold takes the lock as sriov-cni does.
func hold(t *testing.T, dir string) (release func()) {
	t.Helper()
	fd, err := unix.Open(filepath.Join(dir, string(vf)+".lock"), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	}
	kit.Must(t, err)
	return func() { _ = unix.Close(fd) }
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	l := Locks{Dir: dir}
	unlock, err := l.TryLock(vf)
	kit.Must(t, err)
	if _, again := l.TryLock(vf); !errors.Is(again, bond.ErrBusy) {
		t.Errorf("a second time: %v", again)
	}
	if other, busy := l.TryLock("0000:01:10.2"); busy != nil {
		t.Errorf("another VF's: %v", busy)
	} else {
		other()
	}
	unlock()
	hold(t, dir)() // free again

	release := hold(t, dir)
	if _, busy := l.TryLock(vf); !errors.Is(busy, bond.ErrInUse) {
		t.Errorf("while sriov-cni has it: %v", busy)
	}
	release()
	if unlock, err = l.TryLock(vf); err != nil {
		t.Fatalf("when sriov-cni is done: %v", err)
	}
	unlock()
}

// TestLockWithoutDirectory: if sriov-cni does not lock, no lock is taken.
func TestLockWithoutDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vf_lock")
	unlock, err := Locks{Dir: dir}.TryLock(vf)
	kit.Must(t, err)
	unlock()
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
	if _, err := (Locks{Dir: t.TempDir()}).TryLock("../x"); err == nil {
		t.Error("a PCI address that is a path was taken")
	}
}
