package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// kernel is the guest's kernel in the cache, as deps.sh installed it.
type kernel struct {
	dir string
	// release is what uname -r prints in the guest.
	release string
}

// KernelEnv names the environment variable that selects another kernel: 5.10, 6.1, 6.12 (the default) or newest.
const KernelEnv = "BONDKEEPER_LAB_KERNEL"

// defaultKernel is the one that is in the cache's directory kernel. Others have their name in the directory's.
const defaultKernel = "6.12"

// findKernel returns the cached kernel. The error is ErrNotReady if there is none.
func findKernel(cache string) (*kernel, error) {
	dir := filepath.Join(cache, "kernel")
	if series := os.Getenv(KernelEnv); series != "" && series != defaultKernel {
		dir += "-" + series
	}
	release, err := os.ReadFile(filepath.Join(dir, "version"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("lab: no kernel in %s: %w", dir, ErrNotReady)
	}
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return &kernel{dir: dir, release: strings.TrimSpace(string(release))}, nil
}

// modules returns the directory with all modules of the kernel.
func (k *kernel) modules() string { return filepath.Join(k.dir, "modules") }

// image returns the file to boot. A compressed kernel unpacks itself, which takes an emulated machine a second. So it
// is unpacked here once, and QEMU starts the result by its PVH entry. A kernel that is not packed like Debian's is
// booted unchanged.
func (k *kernel) image() (string, error) {
	packed, unpacked := filepath.Join(k.dir, "vmlinuz"), filepath.Join(k.dir, "vmlinux")
	if _, err := os.Stat(unpacked); err == nil {
		return unpacked, nil
	}
	data, err := os.ReadFile(packed)
	if err != nil {
		return "", fmt.Errorf("lab: kernel: %w: %w", err, ErrNotReady)
	}
	elf, err := unpackKernel(data)
	if errors.Is(err, errOtherPacking) {
		return packed, nil
	}
	if err != nil {
		return "", fmt.Errorf("lab: unpack %s: %w", packed, err)
	}
	return unpacked, writeAtomically(unpacked, elf)
}

var errOtherPacking = errors.New("not a kernel packed by zstd")

// Fields of the x86 boot protocol's header, by their offsets in the file.
const (
	setupSectors  = 0x1f1
	headerMagic   = 0x202
	payloadOffset = 0x248
	payloadLength = 0x24c
)

// unpackKernel returns the ELF file in a bzImage.
func unpackKernel(image []byte) ([]byte, error) {
	if len(image) < payloadLength+4 || string(image[headerMagic:headerMagic+4]) != "HdrS" {
		return nil, errOtherPacking
	}
	// Offsets of the payload start at the end of the real-mode code: its sectors and the boot sector. The payload's
	// last four bytes are the unpacked size, for the kernel's own use.
	start := (uint64(image[setupSectors]) + 1) * 512
	start += uint64(binary.LittleEndian.Uint32(image[payloadOffset:]))
	end := start + uint64(binary.LittleEndian.Uint32(image[payloadLength:]))
	if end > uint64(len(image)) || end < start+4 {
		return nil, fmt.Errorf("payload at %d to %d of %d bytes", start, end, len(image))
	}
	payload := image[start : end-4]
	if !bytes.HasPrefix(payload, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return nil, errOtherPacking
	}
	r, err := zstd.NewReader(bytes.NewReader(payload), zstd.WithDecoderMaxWindow(1<<30))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// moduleFiles returns the files of the named modules and their dependencies, in the order of loading. Built-in modules
// have no file.
func (k *kernel) moduleFiles(ctx context.Context, names ...string) ([]string, error) {
	// modprobe searches lib/modules/RELEASE below a given root.
	root, err := os.MkdirTemp("", "lab-modules-")
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	defer func() { _ = os.RemoveAll(root) }()
	if err := os.MkdirAll(filepath.Join(root, "lib/modules"), 0o755); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	link := filepath.Join(root, "lib/modules", k.release)
	if err := os.Symlink(k.modules(), link); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	var files []string
	for _, name := range names {
		out, err := output(ctx, tool("modprobe"), "-d", root, "-S", k.release, "--show-depends", name)
		if err != nil {
			return nil, fmt.Errorf("lab: what kernel module %s needs: %w", name, err)
		}
		for line := range strings.Lines(string(out)) {
			path, ok := strings.CutPrefix(strings.TrimSpace(line), "insmod ")
			path = strings.Replace(path, link, k.modules(), 1)
			if ok && !slices.Contains(files, path) {
				files = append(files, path)
			}
		}
	}
	return files, nil
}

// tool finds a program that may be in an sbin directory, which is not in every user's PATH.
func tool(name string) string {
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return name
}
