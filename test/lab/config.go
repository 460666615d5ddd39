package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// Accelerators of Config.Accel and of the topology.
const (
	// KVM runs the guest on the host's processors.
	KVM = "kvm"
	// TCG translates the guest's instructions, which works everywhere and takes some ten times as long.
	TCG = "tcg"
)

const (
	// MaxVFs is the number of VFs that a card can have.
	MaxVFs = 7
	// MaxCards is the highest number that was tried on one segment and the root bus.
	MaxCards = 8
	// MaxMemoryMiB is the most memory that a guest can have. With more, the firmware puts the VFs' registers above 4
	// GiB; QEMU 10.0 maps them truncated to 32 bits, and no VF gets a carrier.
	MaxMemoryMiB = 2560

	MaxCPUs = 8

	defaultCPUs        = 1
	defaultMemoryMiB   = 1024
	defaultBootTimeout = 3 * time.Minute
	defaultProbeTime   = time.Minute
)

// Config describes the guest to boot. The zero value is a guest without cards.
type Config struct {
	// Cards is the number of SR-IOV cards, VFs the number of virtual functions of each.
	Cards, VFs int
	// CPUs is the number of the guest's processors; 0 means 1, at most MaxCPUs. Emulated processors wait for each
	// other: the same work costs 2.5 times the host's CPU time with two of them.
	CPUs int
	// MemoryMiB is the guest's memory; 0 means 1024, at most MaxMemoryMiB.
	MemoryMiB int
	// UserNet adds a card in QEMU's user-mode network, in which the host's loopback is 10.0.2.2.
	UserNet bool
	// WorkDir is the host directory that the guest can write to. Empty means a temporary one, which is removed when the
	// guest stops.
	WorkDir string
	// Console, if set, receives the guest's kernel messages. The last lines are in every error anyway.
	Console io.Writer
	// Logf, if set, logs slow steps and findings, one line per call, without newline.
	Logf func(format string, args ...any)
	// Accel forces KVM or TCG. Empty means KVM if its trial succeeded.
	Accel string
	// BootTimeout bounds the time from power-on to the last VF; 0 means three minutes.
	BootTimeout time.Duration
	// ProbeTime is the time in which a guest that reports stalled timers must prove that they run; otherwise it is
	// stopped. 0 means one minute.
	ProbeTime time.Duration
	// QEMU is the program to run; empty means qemu-system-x86_64 from the PATH, or the cached one that the cards need.
	QEMU string
	// CacheDir is where deps.sh put the kernel; empty means $BONDKEEPER_LAB_CACHE, or .cache/lab in the root of the
	// module that contains the working directory.
	CacheDir string

	model topology.Model // of the cards
}

// complete checks the config and sets defaults.
func (c Config) complete() (Config, error) {
	if c.CPUs == 0 {
		c.CPUs = defaultCPUs
	}
	if c.MemoryMiB == 0 {
		c.MemoryMiB = defaultMemoryMiB
	}
	if c.BootTimeout == 0 {
		c.BootTimeout = defaultBootTimeout
	}
	if c.ProbeTime == 0 {
		c.ProbeTime = defaultProbeTime
	}
	if c.Console == nil {
		c.Console = io.Discard
	}
	var known bool
	if c.model, known = topology.ModelNamed(os.Getenv(CardsEnv)); !known {
		return c, fmt.Errorf("lab: %s=%s: want %s or %s", CardsEnv, os.Getenv(CardsEnv), topology.IGB.Name, topology.Virtio.Name)
	}
	switch {
	case c.Cards < 0 || c.Cards > MaxCards:
		return c, fmt.Errorf("lab: %d cards: want 0 to %d", c.Cards, MaxCards)
	case c.VFs < 0 || c.VFs > MaxVFs:
		return c, fmt.Errorf("lab: %d VFs a card: want 0 to %d", c.VFs, MaxVFs)
	case c.CPUs < 1 || c.CPUs > MaxCPUs:
		return c, fmt.Errorf("lab: %d processors: want 1 to %d", c.CPUs, MaxCPUs)
	case c.MemoryMiB < 256 || c.MemoryMiB > MaxMemoryMiB:
		return c, fmt.Errorf("lab: %d MiB of memory: want 256 to %d (with more, VFs do not work)", c.MemoryMiB, MaxMemoryMiB)
	case c.Accel != "" && c.Accel != KVM && c.Accel != TCG:
		return c, fmt.Errorf("lab: accelerator %q: want %q, %q or none", c.Accel, KVM, TCG)
	case c.BootTimeout < 0 || c.ProbeTime < 0:
		return c, errors.New("lab: a timeout is negative")
	}
	return c, nil
}

// logf logs to the caller, if it wants it.
func (c *Config) logf(format string, args ...any) {
	if c.Logf != nil {
		c.Logf(format, args...)
	}
}
