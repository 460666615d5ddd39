package lab

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/bondkeeper/bondkeeper/test/lab/internal/wire"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// endWait is how long QEMU's end may take after its connections broke.
const endWait = time.Second

// Guest is a running guest. Its methods may be called from several goroutines.
type Guest struct {
	cfg      Config
	machine  *machine
	session  *yamux.Session
	monitor  *qmp
	topology topology.Topology
	temp     string

	// stopping is set before QEMU is stopped on purpose.
	stopping atomic.Bool
	// guard waits for the goroutine that watches for stopped timers; it ends with the machine.
	guard    sync.WaitGroup
	stopOnce sync.Once
	stopErr  error
}

// Start boots a guest and returns when all its VFs have their interfaces; their links come up some three seconds later.
// The context bounds the start only: the guest runs until Stop is called, or until this process ends. The error matches
// ErrNotReady if something must be installed. It is a *GuestError, with the console's last lines, if the guest did not
// come up. A machine that fails at boot is started once more; if that fails too, the error matches ErrMachineFailed.
func Start(ctx context.Context, cfg Config) (*Guest, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	if cfg.CacheDir == "" {
		if cfg.CacheDir, err = DefaultCacheDir(ctx); err != nil {
			return nil, fmt.Errorf("lab: cache: %w", err)
		}
	}
	qemu, err := exec.LookPath(cfg.qemu())
	if err != nil {
		return nil, fmt.Errorf("lab: no QEMU: %w: %w", err, ErrNotReady)
	}
	cfg.QEMU = qemu
	g, err := start(ctx, cfg)
	if err == nil || !failedAtBoot(ctx, err) {
		return g, err
	}
	first := err
	cfg.logf("starting the guest once more, because it failed at boot: %v", first)
	if g, err = start(ctx, cfg); err != nil && failedAtBoot(ctx, err) {
		err = &bootError{first, err}
	}
	return g, err
}

// start makes one attempt to boot a guest.
func start(ctx context.Context, cfg Config) (_ *Guest, err error) {
	g := &Guest{cfg: cfg}
	if g.temp, err = os.MkdirTemp("", "lab-"); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if err := g.boot(ctx); err != nil {
		return nil, errors.Join(err, g.discard())
	}
	// The context bounds the start only.
	guard := context.WithoutCancel(ctx)
	g.guard.Go(func() { g.guardTimers(guard, cfg.ProbeTime) })
	return g, nil
}

// boot prepares the machine's files, starts it and waits until it is ready.
func (g *Guest) boot(ctx context.Context) error {
	k, err := findKernel(g.cfg.CacheDir)
	if err != nil {
		return err
	}
	image, err := k.image()
	if err != nil {
		return err
	}
	accel, err := chooseAccel(ctx, &g.cfg, k, image)
	if err != nil {
		return err
	}
	if g.cfg.WorkDir == "" {
		g.cfg.WorkDir = filepath.Join(g.temp, "share")
	}
	if err := os.MkdirAll(g.cfg.WorkDir, 0o755); err != nil {
		return fmt.Errorf("lab: shared directory: %w", err)
	}
	initramfs := filepath.Join(g.temp, "initramfs")
	orders := &wire.Boot{
		Accel: accel, Cards: g.cfg.Cards, VFs: g.cfg.VFs, Model: g.cfg.model, UserNet: g.cfg.UserNet,
		KernelModules: k.modules(), Env: guestEnv(),
	}
	if err := writeInitramfs(ctx, initramfs, k, orders); err != nil {
		return err
	}
	g.cfg.logf("powering on under %s", accel)
	ctx, cancel := context.WithTimeoutCause(ctx, g.cfg.BootTimeout, fmt.Errorf("no answer within %v", g.cfg.BootTimeout))
	defer cancel()
	return g.powerOn(ctx, baseArgs(accel, g.cfg.CPUs, g.cfg.MemoryMiB, image, initramfs))
}

// guestEnv is the environment of commands in the guest: the host's PATH, because the guest has the same files.
func guestEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "LANG=C.UTF-8",
	}
}

// powerOn starts the machine and waits until it is ready.
func (g *Guest) powerOn(ctx context.Context, args []string) error {
	s := sockets{channel: filepath.Join(g.temp, "channel"), monitor: filepath.Join(g.temp, "monitor")}
	channel, err := net.Listen("unix", s.channel)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer func() { _ = channel.Close() }()
	monitor, err := net.Listen("unix", s.monitor)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer func() { _ = monitor.Close() }()
	if g.machine, err = startMachine(g.cfg.QEMU, append(args, deviceArgs(&g.cfg, s)...), g.cfg.Console); err != nil {
		return err
	}
	// The wait ends with the context or the machine.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer g.machine.onEnd(func() { cancel(g.machine.cause()) })()
	defer context.AfterFunc(ctx, func() { _, _ = channel.Close(), monitor.Close() })()
	if err := g.greet(ctx, channel, monitor); err != nil {
		// Its connections break a moment before QEMU has ended, and that end is the better explanation.
		select {
		case <-ctx.Done():
		case <-time.After(endWait):
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if stall := g.machine.stall.first(); stall != "" {
			err = fmt.Errorf("its timers stopped: %s: %w", stall, err)
		}
		return g.failure(fmt.Errorf("the guest did not come up: %w", err))
	}
	return nil
}

// greet accepts QEMU's two connections and receives the guest's description.
func (g *Guest) greet(ctx context.Context, channel, monitor net.Listener) error {
	conn, err := monitor.Accept()
	if err != nil {
		return fmt.Errorf("QEMU's monitor: %w", err)
	}
	if g.monitor, err = newQMP(ctx, conn); err != nil {
		return errors.Join(err, conn.Close())
	}
	if conn, err = channel.Accept(); err != nil {
		return fmt.Errorf("channel to the guest: %w", err)
	}
	if g.session, err = yamux.Server(conn, wire.Config()); err != nil {
		return errors.Join(fmt.Errorf("channel to the guest: %w", err), conn.Close())
	}
	stream, err := g.session.AcceptStreamWithContext(ctx)
	if err != nil {
		return fmt.Errorf("channel to the guest: %w", err)
	}
	defer func() { _ = stream.Close() }()
	defer context.AfterFunc(ctx, func() { _ = g.session.Close() })()
	dec := gob.NewDecoder(stream)
	var hello wire.Hello
	if err := dec.Decode(&hello); err != nil {
		return fmt.Errorf("greeting of the guest: %w", err)
	}
	g.cfg.logf("Linux %s is up, waiting for its %d cards", hello.Kernel, g.cfg.Cards)
	var ready wire.Ready
	if err := dec.Decode(&ready); err != nil {
		return fmt.Errorf("topology of the guest: %w", err)
	}
	if ready.Err != "" {
		return errors.New(ready.Err)
	}
	g.topology = ready.Topology
	return nil
}

// failure adds the console to an error of the guest.
func (g *Guest) failure(err error) error {
	return &GuestError{Err: err, Console: g.machine.console.String()}
}

// Topology describes the guest. Tests in the guest get the same from topology.Load.
func (g *Guest) Topology() topology.Topology { return g.topology }

// WorkDir returns the host's directory that is topology.ShareDir in the guest.
func (g *Guest) WorkDir() string { return g.cfg.WorkDir }

// Done returns a channel that is closed when the guest has ended, for whatever reason.
func (g *Guest) Done() <-chan struct{} { return g.machine.alive.Done() }

// QMP runs a command of QEMU's monitor and returns its response. args is anything that encodes to a JSON object, or
// nil. If QEMU rejects the command, the error is a *QMPError.
func (g *Guest) QMP(ctx context.Context, command string, args any) (json.RawMessage, error) {
	response, err := g.monitor.call(ctx, command, args)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return response, nil
}

// SetLink unplugs or plugs the cable of a card, by its index in the topology. The card's PF loses or gets its carrier;
// its VFs are unaffected, unlike on real cards.
func (g *Guest) SetLink(ctx context.Context, card int, up bool) error {
	_, err := g.QMP(ctx, "set_link", map[string]any{"name": cardID(card), "up": up})
	return err
}

// Stop stops the guest and returns when nothing of it is left. A guest has nothing to save: a file in the shared
// directory is complete once its writer has closed it. If the context ends before QEMU does, QEMU is killed. Further
// calls return the first one's result.
func (g *Guest) Stop(ctx context.Context) error {
	g.stopOnce.Do(func() { g.stopErr = g.stop(ctx) })
	return g.stopErr
}

func (g *Guest) stop(ctx context.Context) error {
	var err error
	// A machine that failed before counts as failed.
	g.stopping.Store(g.machine.alive.Err() == nil)
	if g.machine.alive.Err() == nil {
		// QEMU may end before it has responded, so the response does not matter.
		if _, qmpErr := g.monitor.call(ctx, "quit", nil); qmpErr != nil && ctx.Err() == nil && g.machine.alive.Err() == nil {
			err = g.machine.kill()
		}
		err = errors.Join(err, g.machine.wait(ctx))
	}
	g.guard.Wait()
	if err = errors.Join(err, g.discard()); err != nil {
		return fmt.Errorf("lab: stop the guest: %w", err)
	}
	return nil
}

// discard frees all resources of a guest, even if its start failed.
func (g *Guest) discard() error {
	var errs []error
	if g.machine != nil && g.machine.alive.Err() == nil {
		errs = append(errs, g.machine.kill())
		<-g.machine.alive.Done()
	}
	if g.session != nil {
		errs = append(errs, g.session.Close())
	}
	if g.monitor != nil {
		errs = append(errs, g.monitor.conn.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(g.temp))...)
}
