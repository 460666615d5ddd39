// Command guest is process 1 of a lab guest, and its command server.
//
// As /init of the initramfs it mounts the host's root under an overlay and switches to it. It then starts itself again
// as the command server, and from then on only reaps. These are two processes, because process 1 must wait for every
// orphan, and that would also collect the exit statuses of the server's commands.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/lab/internal/wire"
)

func main() {
	if os.Getpid() != 1 {
		if err := serve(); err != nil {
			fmt.Fprintf(os.Stderr, "lab: command server: %v\n", err)
			os.Exit(1)
		}
		return
	}
	if err := initialise(); err != nil {
		fmt.Fprintf(os.Stderr, "lab: init: %v\n", err)
	}
	powerOff()
}

// powerOff powers the machine off. Everything in it is in memory, and the shared directory is written through, so
// nothing needs to be unmounted.
func powerOff() {
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintf(os.Stderr, "lab: power off: %v\n", err)
	}
}

// initialise is what process 1 does. It returns when the command server has ended.
func initialise() error {
	boot, err := readBoot(wire.BootFile)
	if err != nil {
		return err
	}
	if boot.Trial {
		fmt.Println(wire.TrialMark)
		return nil
	}
	if err = loadModules(boot.RootModules); err != nil {
		return err
	}
	// A driver takes a second to initialise an emulated card; the root is mounted meanwhile.
	cards := make(chan error, 1)
	modules, err := openModules(boot.CardModules)
	if err != nil {
		return err
	}
	go func() { cards <- modules.load() }()
	if err = enterRoot(boot); err != nil {
		return err
	}
	server, err := startServer()
	if err != nil {
		return err
	}
	if err = <-cards; err != nil {
		return err
	}
	return reapUntil(server)
}

// readBoot reads the guest's orders.
func readBoot(path string) (*wire.Boot, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("orders of the host: %w", err)
	}
	boot := new(wire.Boot)
	if err := json.Unmarshal(data, boot); err != nil {
		return nil, fmt.Errorf("orders of the host: %w", err)
	}
	return boot, nil
}

// startServer starts this program again as the command server and returns its process ID. The program's file is in the
// initramfs, to which only /proc still has a path.
func startServer() (int, error) {
	p, err := os.StartProcess("/proc/self/exe", []string{"lab-guest"}, &os.ProcAttr{
		Dir:   "/",
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return 0, fmt.Errorf("start the command server: %w", err)
	}
	return p.Pid, nil
}

// reapUntil waits for every child and orphan, until the given one has ended.
func reapUntil(server int) error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for processes: %w", err)
		}
		if pid == server {
			return nil
		}
	}
}
