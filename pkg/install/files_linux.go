package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// mode is the mode of an installed plugin.
const mode = 0o755

// lockRetry is the pause between two attempts to lock the directory. A wait in the kernel cannot be ended by a context,
// and an installer takes about a second.
const lockRetry = 20 * time.Millisecond

// lock locks the directory for one installer. So temporary files in it are known to be from a killed one. The kernel
// releases the lock of a process that dies.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("directory of CNI binaries (mount the node's there, or name it with --dir): %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another installer is running in %s (fuser shows its pid): %w", dir, context.Cause(ctx)), f.Close())
		case <-time.After(lockRetry):
		}
	}
}

// sweep removes temporary files of killed installers. The caller has the lock.
func sweep(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, temporary))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return explain(dir, fmt.Errorf("remove what an installer left: %w", err))
		}
	}
	return nil
}

// writeTemp writes a program to a temporary file and returns its path. The file is synced and closed: the kernel runs
// no program that is open for writing (ETXTBSY).
func writeTemp(dir string, program []byte) (path string, err error) {
	f, err := os.CreateTemp(dir, temporary)
	if err != nil {
		return "", explain(dir, fmt.Errorf("write the plugin: %w", err))
	}
	_, err = f.Write(program)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(explain(dir, fmt.Errorf("write the plugin: %w", err)), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// explain adds the remedy to an error of the file system.
func explain(dir string, err error) error {
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %s is mounted read-only; mount it writable, or choose the directory that the runtime's configuration names", err, dir)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: the file system of %s is full; make room for the plugin twice over", err, dir)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %s", err, owner(dir))
	}
	return err
}

// owner describes the owner of the directory: some archives of CNI plugins give it to the user who packed them.
func owner(dir string) string {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s belongs to user %d and has mode %#o; give it to root with mode 0755, or look for a denial by SELinux or AppArmor", dir, st.Uid, st.Mode&0o7777)
}

// syncDir syncs renames: after a power failure the name must lead to a file.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync the directory: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync the directory %s: %w", dir, err)
	}
	return nil
}
