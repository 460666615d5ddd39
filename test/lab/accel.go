package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/lab/internal/wire"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const (
	kvmDevice = "/dev/kvm"
	// trialTime limits KVM's trial boot of a kernel to its init. It takes a second, or two if nested; if it takes
	// longer than this, KVM is slower than TCG.
	trialTime = 10 * time.Second
)

// verdict is the stored result of a trial. It is valid while everything that was tried together stays the same.
type verdict struct {
	HostKernel, GuestKernel, QEMU string
	// KVM reports whether it worked.
	KVM bool
	// Found describes what happened.
	Found string
}

// chooseAccel returns the accelerator for a guest. /dev/kvm may exist although KVM runs no stock kernel, on a nested
// machine for example. So KVM is tried once, and the verdict is stored in the cache.
func chooseAccel(ctx context.Context, cfg *Config, k *kernel, image string) (string, error) {
	if cfg.Accel != "" {
		return cfg.Accel, nil
	}
	if unix.Access(kvmDevice, unix.R_OK|unix.W_OK) != nil {
		return TCG, nil
	}
	path := filepath.Join(k.dir, "accel.json") // of each kernel and QEMU
	if cfg.model == topology.Virtio {
		path = filepath.Join(k.dir, "accel-virtio.json")
	}
	want, err := verdictKey(cfg.QEMU, k)
	if err != nil {
		return "", err
	}
	if v, ok := readVerdict(path, want); ok {
		return v.accel(), nil
	}
	cfg.logf("trying KVM, once, for at most %v", trialTime)
	v := want
	if v.KVM, v.Found, err = tryAccel(ctx, KVM, trialTime, cfg, k, image); err != nil {
		return "", err
	}
	cfg.logf("%s; remembered in %s", v.Found, path)
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return "", fmt.Errorf("lab: verdict on KVM: %w", err)
	}
	return v.accel(), writeAtomically(path, append(data, '\n'))
}

// accel is the accelerator to use.
func (v verdict) accel() string {
	if v.KVM {
		return KVM
	}
	return TCG
}

// verdictKey returns a verdict without its outcome.
func verdictKey(qemu string, k *kernel) (verdict, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return verdict{}, fmt.Errorf("lab: uname: %w", err)
	}
	info, err := os.Stat(qemu)
	if err != nil {
		return verdict{}, fmt.Errorf("lab: %w", err)
	}
	return verdict{
		HostKernel:  unix.ByteSliceToString(name.Release[:]),
		GuestKernel: k.release,
		QEMU:        fmt.Sprintf("%s of %s", qemu, info.ModTime().UTC().Format(time.RFC3339)),
	}, nil
}

// readVerdict returns the stored verdict, if it is about the same machine and programs.
func readVerdict(path string, want verdict) (verdict, bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return verdict{}, false
	}
	var v verdict
	if err := json.Unmarshal(data, &v); err != nil {
		return verdict{}, false
	}
	same := v
	same.KVM, same.Found = want.KVM, want.Found
	return v, same == want
}

// tryAccel boots a kernel under an accelerator and reports whether it reaches its init within the limit, and what
// happened. The error is a failure of the trial itself.
func tryAccel(ctx context.Context, accel string, limit time.Duration, cfg *Config, k *kernel, image string) (bool, string, error) {
	dir, err := os.MkdirTemp("", "lab-trial-")
	if err != nil {
		return false, "", fmt.Errorf("lab: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	initramfs := filepath.Join(dir, "initramfs")
	if err = writeInitramfs(ctx, initramfs, k, &wire.Boot{Trial: true}); err != nil {
		return false, "", err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	m, err := startMachine(cfg.QEMU, baseArgs(accel, defaultCPUs, defaultMemoryMiB, image, initramfs), io.Discard)
	if err != nil {
		return false, "", err
	}
	err = m.wait(limited)
	switch {
	case ctx.Err() != nil:
		return false, "", ctx.Err()
	case strings.Contains(m.console.String(), wire.TrialMark):
		return true, fmt.Sprintf("%s booted a kernel in %.1f s", accel, time.Since(start).Seconds()), nil
	case errors.Is(err, context.DeadlineExceeded):
		return false, fmt.Sprintf("%s is here but boots no kernel within %v", accel, limit), nil
	default:
		return false, accel + " is here but boots no kernel: " + m.cause().Error(), nil
	}
}
