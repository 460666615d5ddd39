package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// CacheEnv names the environment variable that selects another cache directory.
const CacheEnv = "BONDKEEPER_LAB_CACHE"

// ErrNotReady means that this machine lacks something that deps.sh installs.
var ErrNotReady = errors.New("the lab is not installed on this machine: run make deps")

// DefaultCacheDir returns the cache directory if a Config has none.
func DefaultCacheDir(ctx context.Context) (string, error) {
	if dir := os.Getenv(CacheEnv); dir != "" {
		return filepath.Abs(dir)
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".cache", "lab"), nil
}

// moduleRoot returns the root of the module that contains the working directory.
func moduleRoot(ctx context.Context) (string, error) {
	gomod, err := output(ctx, "go", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	file := strings.TrimSpace(string(gomod))
	if file == "" || file == os.DevNull {
		return "", fmt.Errorf("the working directory is in no Go module: call from within the checkout, or set %s", CacheEnv)
	}
	return filepath.Dir(file), nil
}

// output runs a program on the host and returns its standard output; the error contains its standard error.
func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", err, ErrNotReady)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// writeAtomically writes a file of the cache atomically: several guests may be started at once.
func writeAtomically(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	// Other users must be able to use the cache.
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("cache: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
