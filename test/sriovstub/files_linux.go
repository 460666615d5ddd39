package sriovstub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

func (p Plugin) dir() string {
	if p.Dir == "" {
		return DefaultDir
	}
	return p.Dir
}

func (p Plugin) cache(a Args) string { return filepath.Join(p.dir(), a.ContainerID+"-"+a.IfName) }

func (p Plugin) claims() string { return filepath.Join(p.dir(), "pci") }

// save is SaveNetConf and saveScratchNetConf: the directory has mode 0700, unless lock made it before. The file has
// mode 0600 and is written in place.
func (p Plugin) save(a Args, c *NetConf) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.dir(), 0o700); err != nil {
		return err
	}
	return os.WriteFile(p.cache(a), data, 0o600)
}

// claim is SaveAllocatedPCI: the path of the netns without newline, in a directory without search permission.
func (p Plugin) claim(vf, path string) error {
	if p.Release == Caching {
		return nil
	}
	if err := os.MkdirAll(p.claims(), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.claims(), vf), []byte(path), 0o600)
}

// unclaim is DeleteAllocatedPCI; no claim is an error.
func (p Plugin) unclaim(vf string) error {
	if p.Release == Caching {
		return nil
	}
	return os.Remove(filepath.Join(p.claims(), vf))
}

// allocated is IsAllocated: the claim of a missing netns is removed.
func (p Plugin) allocated(vf string) (bool, error) {
	path := filepath.Join(p.claims(), vf)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || p.Release == Caching {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ns, err := netns.Open(string(data))
	if err != nil {
		return false, os.Remove(path)
	}
	return true, ns.Close()
}

// lock is PCIAllocator.Lock: it makes all missing directories first, with mode 0600, and opens the file read-only. The
// file is never removed. The real one waits 60 s at most.
func (p Plugin) lock(vf string) (unlock func(), err error) {
	if p.Release != Locking && p.Release != Unreleased {
		return func() {}, nil
	}
	dir := filepath.Join(p.claims(), "vf_lock")
	if err = os.MkdirAll(dir, 0o600); err != nil {
		return nil, fmt.Errorf("failed to create the sriov lock directory(%q): %w", dir, err)
	}
	path := filepath.Join(dir, vf+".lock")
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("failed to open PCI file [%s] for locking: %w", path, err)
	}
	for {
		if err = unix.Flock(fd, unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("failed to flock PCI file [%s]: %w", path, err)
	}
	return func() {
		_ = unix.Flock(fd, unix.LOCK_UN)
		_ = unix.Close(fd)
	}, nil
}
