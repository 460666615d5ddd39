package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/lab/internal/wire"
)

// moduleFiles are opened kernel modules in loading order.
type moduleFiles []*os.File

// loadModules loads modules of the initramfs in the order given.
func loadModules(names []string) error {
	files, err := openModules(names)
	if err != nil {
		return err
	}
	return files.load()
}

// openModules opens modules of the initramfs. Open ones can be loaded after the root was changed.
func openModules(names []string) (moduleFiles, error) {
	var files moduleFiles
	for _, name := range names {
		f, err := os.Open(filepath.Join(wire.ModuleDir, name))
		if err != nil {
			return nil, fmt.Errorf("open kernel module: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// load loads the modules and closes their files. A module that is already loaded is not an error.
func (files moduleFiles) load() error {
	for _, f := range files {
		err := unix.FinitModule(int(f.Fd()), "", 0)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load kernel module %s: %w", f.Name(), err)
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("close kernel module: %w", err)
		}
	}
	return nil
}
