package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/bondkeeper/bondkeeper/test/lab/internal/wire"
)

// kernelArgs make an emulated guest boot quickly: no self-tests, no mitigations, no read-only text. A panic ends QEMU
// (with -no-reboot). Network interfaces keep their kernel names.
const kernelArgs = "console=ttyS0 quiet panic=-1 mitigations=off net.ifnames=0 " +
	"no_timer_check cryptomgr.notests rcupdate.rcu_expedited=1 rodata=off " +
	"lsm=capability init_on_alloc=0 nowatchdog 8250.nr_uarts=1"

// machine is a running QEMU.
type machine struct {
	console tail
	stall   *stallWatch
	// alive ends when QEMU has ended; its cause is how.
	alive context.Context
	kill  func() error
}

// startMachine starts QEMU. The guest's console is copied to a writer.
func startMachine(qemu string, args []string, console io.Writer) (*machine, error) {
	m := &machine{stall: newStallWatch()}
	cmd := exec.Command(qemu, args...)
	cmd.Stdout = io.MultiWriter(&m.console, m.stall, console)
	var stderr tail
	cmd.Stderr = &stderr
	// In its own process group, so that a terminal's interrupt reaches only this process, which handles it. QEMU is
	// killed when this process ends, even by SIGKILL.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	alive, end := context.WithCancelCause(context.Background())
	m.alive = alive
	m.kill = func() error { return cmd.Process.Kill() }
	started := make(chan error)
	go func() {
		// The kernel sends the Pdeathsig when the thread that started the process ends: keep it until then.
		runtime.LockOSThread()         //nolint:forbidigo // the thread changes nothing, it only has to live
		defer runtime.UnlockOSThread() //nolint:forbidigo // as above
		err := cmd.Start()
		started <- err
		if err == nil {
			end(ended(cmd.Wait(), &stderr))
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("lab: start QEMU: %w", err)
	}
	return m, nil
}

// onEnd calls f when QEMU has ended, unless undo is called before.
func (m *machine) onEnd(f func()) (undo func() bool) { return context.AfterFunc(m.alive, f) }

// cause returns how QEMU has ended; nil while it runs.
func (m *machine) cause() error { return context.Cause(m.alive) }

// ended describes how QEMU has ended. A guest that powers off and one that panics both end it with status 0. QEMU's
// messages are used only if it failed, because it prints harmless warnings.
func ended(err error, stderr *tail) error {
	if err == nil {
		return ErrGuestGone
	}
	return fmt.Errorf("%w: QEMU: %w: %s", ErrGuestGone, err, stderr)
}

// wait waits until QEMU ends, and kills it if the context ends first.
func (m *machine) wait(ctx context.Context) error {
	select {
	case <-m.alive.Done():
		return nil
	case <-ctx.Done():
	}
	err := m.kill()
	<-m.alive.Done()
	return errors.Join(ctx.Err(), err)
}

// baseArgs are QEMU's arguments for any guest: processors, memory, kernel and console.
func baseArgs(accel string, cpus, memoryMiB int, image, initramfs string) []string {
	kernel, cpu := kernelArgs, "max"
	if accel == TCG {
		// Without "fast string operations" the kernel copies by words: as emulated, those go byte by byte.
		accel, cpu = "tcg,thread=multi", "max,-erms,-fsrm"
		// On a busy host the guest mismeasures its own clock by whole factors, and then its time runs too fast.
		if khz := tscKHz(); khz > 0 {
			kernel += fmt.Sprintf(" tsc_early_khz=%d", khz)
		}
	}
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35", "-accel", accel, "-cpu", cpu, "-smp", strconv.Itoa(cpus), "-m", strconv.Itoa(memoryMiB),
		"-kernel", image, "-initrd", initramfs, "-append", kernel, "-serial", "stdio",
	}
}

// sockets are the paths that QEMU connects to.
type sockets struct{ channel, monitor string }

// deviceArgs are QEMU's arguments for the guest's devices.
func deviceArgs(cfg *Config, s sockets) []string {
	args := []string{
		"-chardev", "socket,id=monitor,path=" + comma(s.monitor), "-mon", "chardev=monitor,mode=control",
		"-chardev", "socket,id=channel,path=" + comma(s.channel),
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=channel,name=" + wire.Port,
		"-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=root,mount_tag=" + wire.RootTag,
		"-fsdev", "local,id=share,security_model=none,multidevs=remap,path=" + comma(cfg.WorkDir),
		"-device", "virtio-9p-pci,fsdev=share,mount_tag=" + wire.ShareTag,
	}
	for i := range cfg.Cards {
		args = append(args, cardArgs(cfg, i)...)
	}
	if cfg.UserNet {
		args = append(args, "-netdev", "user,id=user,ipv6=off", "-device", "virtio-net-pci,netdev=user,romfile=")
	}
	return args
}

// comma quotes a path for QEMU's option parser.
func comma(path string) string { return strings.ReplaceAll(path, ",", ",,") }
