package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"

	"github.com/bondkeeper/bondkeeper/test/lab/internal/wire"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// guestPackage is the program that is the guest's init.
const guestPackage = "github.com/bondkeeper/bondkeeper/test/lab/guest"

// writeInitramfs writes the initramfs: the init, its orders, and the modules that it needs before it has a root. It
// adds the modules to the orders.
func writeInitramfs(ctx context.Context, path string, k *kernel, boot *wire.Boot) error {
	contents := map[string][]byte{}
	var err error
	if !boot.Trial {
		if err = addModules(ctx, k, boot, contents); err != nil {
			return err
		}
	}
	if contents["init"], err = buildGuest(ctx, path+".init"); err != nil {
		return err
	}
	if contents[strings.TrimPrefix(wire.BootFile, "/")], err = json.Marshal(boot); err != nil {
		return fmt.Errorf("lab: orders for the guest: %w", err)
	}
	return writeCPIO(path, contents)
}

// buildGuest compiles the guest's init as a static program and returns it. With a warm build cache this takes a tenth
// of a second.
func buildGuest(ctx context.Context, path string) ([]byte, error) {
	// CGO_ENABLED and GOOS are set for this command alone.
	_, err := output(ctx, "env", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64",
		"go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, guestPackage)
	if err != nil {
		return nil, fmt.Errorf("lab: compile the guest's init: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return data, nil
}

// addModules adds the modules to the contents and their names to the orders.
func addModules(ctx context.Context, k *kernel, boot *wire.Boot, contents map[string][]byte) error {
	var cards []string
	if boot.Model == topology.IGB {
		cards = []string{"igb", "igbvf"}
	}
	if boot.Model == topology.Virtio || boot.UserNet {
		cards = append(cards, "virtio_net")
	}
	// The first two are built in since Debian 13.
	root, err := k.moduleFiles(ctx, "virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")
	if err != nil {
		return err
	}
	card, err := k.moduleFiles(ctx, cards...)
	if err != nil {
		return err
	}
	for _, file := range append(slices.Clone(root), card...) {
		name := moduleName(file)
		if contents[name] != nil {
			continue
		}
		// Unpacked here, because the guest would take ten times as long.
		if contents[name], err = unpackModule(ctx, file); err != nil {
			return err
		}
	}
	boot.RootModules, boot.CardModules = baseNames(root), baseNames(card)
	return nil
}

// moduleName is a module's path in the initramfs.
func moduleName(file string) string {
	return strings.TrimPrefix(wire.ModuleDir, "/") + "/" + strings.TrimSuffix(filepath.Base(file), ".xz")
}

// baseNames returns the modules' names as they are in wire.ModuleDir.
func baseNames(files []string) []string {
	names := make([]string, 0, len(files))
	for _, file := range files {
		names = append(names, filepath.Base(moduleName(file)))
	}
	return names
}

func unpackModule(ctx context.Context, file string) ([]byte, error) {
	if !strings.HasSuffix(file, ".xz") {
		return os.ReadFile(file)
	}
	data, err := output(ctx, "xz", "--decompress", "--stdout", file)
	if err != nil {
		return nil, fmt.Errorf("lab: unpack kernel module: %w", err)
	}
	return data, nil
}

// writeCPIO writes an archive of executable files and their directories.
func writeCPIO(path string, contents map[string][]byte) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("lab: initramfs: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := cpio.NewWriter(f)
	dir := strings.TrimPrefix(wire.ModuleDir, "/")
	if err := w.WriteHeader(&cpio.Header{Name: dir, Mode: cpio.TypeDir | 0o755, Links: 2}); err != nil {
		return fmt.Errorf("lab: initramfs: %w", err)
	}
	for name, data := range contents {
		header := &cpio.Header{Name: name, Mode: cpio.TypeReg | 0o755, Links: 1, Size: int64(len(data))}
		if err := w.WriteHeader(header); err != nil {
			return fmt.Errorf("lab: initramfs: %w", err)
		}
		if _, err := w.Write(data); err != nil {
			return fmt.Errorf("lab: initramfs: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("lab: initramfs: %w", err)
	}
	return nil
}
