package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/lab/internal/wire"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const (
	pciDrivers = "/sys/bus/pci/drivers"
	// cardsDeadline bounds the set-up of all cards, for an emulated machine on a busy host.
	cardsDeadline = 2 * time.Minute
	// pollInterval is the pause between checks of sysfs for a function's interface.
	pollInterval = 10 * time.Millisecond
)

// setUpCards waits for the cards and drivers, creates the VFs, sets the PFs up, and returns the topology. It also
// writes it to topology.File.
func setUpCards(ctx context.Context, boot *wire.Boot) (*topology.Topology, error) {
	ctx, cancel := context.WithTimeout(ctx, cardsDeadline)
	defer cancel()
	t := &topology.Topology{Kernel: kernelRelease(), Accel: boot.Accel, Model: boot.Model, Cards: []topology.Card{}}
	if err := findPFs(ctx, t, boot.Cards); err != nil {
		return nil, err
	}
	// Its card is renamed before the VFs get their names, which are then the same with and without it.
	if boot.UserNet {
		t.UserNet = topology.UserNetName
		if err := joinUserNet(ctx, t); err != nil {
			return nil, err
		}
	}
	if err := makeVFs(ctx, t.Cards, boot.VFs); err != nil {
		return nil, err
	}
	// Last, because a card that is up must go down and up again to get VFs, which takes seconds.
	if err := setLinksUp(t); err != nil {
		return nil, err
	}
	return t, writeTopology(t)
}

// kernelRelease returns what uname -r prints.
func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}

// findPFs waits until all cards have their driver and interface, and adds them to t in order.
func findPFs(ctx context.Context, t *topology.Topology, want int) error {
	var found []string
	err := until(ctx, func() bool {
		// Functions of other devices may have the same driver.
		found, _ = filepath.Glob(filepath.Join(pciDrivers, t.Model.PFDriver, "????:??:??.?", "sriov_totalvfs"))
		_, err := os.Stat(filepath.Join(pciDrivers, t.Model.VFDriver))
		return err == nil && len(found) == want
	})
	if err != nil {
		return fmt.Errorf("found %d of %d %s cards %v: %w", len(found), want, t.Model.Name, found, err)
	}
	slices.Sort(found)
	for _, path := range found {
		pf, err := waitForFunction(ctx, filepath.Base(filepath.Dir(path)))
		if err != nil {
			return err
		}
		t.Cards = append(t.Cards, topology.Card{PF: *pf, VFs: []topology.Function{}})
	}
	return nil
}

// makeVFs creates the VFs of all cards. A card takes half a second, mostly asleep, so the cards work concurrently. The
// VFs are then bound to their driver one by one, so that interface names are the same at each boot.
func makeVFs(ctx context.Context, cards []topology.Card, vfs int) error {
	if vfs == 0 {
		return nil
	}
	var cardsAtOnce errgroup.Group
	for _, card := range cards {
		cardsAtOnce.Go(func() error {
			return writeAll(filepath.Join(topology.PCIDevices, card.PF.PCI),
				[2]string{"sriov_drivers_autoprobe", "0"},
				[2]string{"sriov_numvfs", strconv.Itoa(vfs)},
				[2]string{"sriov_drivers_autoprobe", "1"})
		})
	}
	if err := cardsAtOnce.Wait(); err != nil {
		return fmt.Errorf("make VFs: %w", err)
	}
	for i := range cards {
		for number := range vfs {
			vf, err := probeVF(ctx, cards[i].PF.PCI, number)
			if err != nil {
				return fmt.Errorf("VF %d of card %s: %w", number, cards[i].PF.PCI, err)
			}
			cards[i].VFs = append(cards[i].VFs, *vf)
		}
	}
	return nil
}

// probeVF binds a VF to its driver.
func probeVF(ctx context.Context, pf string, number int) (*topology.Function, error) {
	target, err := os.Readlink(filepath.Join(topology.PCIDevices, pf, fmt.Sprintf("virtfn%d", number)))
	if err != nil {
		return nil, err
	}
	pci := filepath.Base(target)
	if err := writeAll("/sys/bus/pci", [2]string{"drivers_probe", pci}); err != nil {
		return nil, err
	}
	return waitForFunction(ctx, pci)
}

// writeAll writes values to files of a directory of sysfs, in order.
func writeAll(dir string, settings ...[2]string) error {
	for _, s := range settings {
		if err := os.WriteFile(filepath.Join(dir, s[0]), []byte(s[1]), 0); err != nil {
			return err
		}
	}
	return nil
}

// waitForFunction waits until a PCI function has its network interface.
func waitForFunction(ctx context.Context, pci string) (*topology.Function, error) {
	f := &topology.Function{PCI: pci}
	var last error
	err := until(ctx, func() bool {
		if f.Name, last = topology.Netdev(pci); last != nil {
			return false
		}
		var address []byte
		address, last = os.ReadFile(filepath.Join("/sys/class/net", f.Name, "address"))
		f.MAC = strings.TrimSpace(string(address))
		return last == nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", last, err)
	}
	return f, nil
}

// until polls done until it is true. There are events for this (uevents), but during boot they come before a listener
// could exist, and polling sysfs is cheap.
func until(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// setLinksUp sets the loopback and the PFs up. It does not use ip(8), whose start takes a tenth of a second under TCG.
func setLinksUp(t *topology.Topology) error {
	names := []string{"lo"}
	for _, card := range t.Cards {
		names = append(names, card.PF.Name)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("set links up: %w", err)
	}
	defer func() { _ = unix.Close(socket) }()
	for _, name := range names {
		request, err := unix.NewIfreq(name)
		if err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
		if err := unix.IoctlIfreq(socket, unix.SIOCGIFFLAGS, request); err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
		request.SetUint16(request.Uint16() | unix.IFF_UP)
		if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
	}
	return nil
}

// joinUserNet sets the name of the user network's card and the address that QEMU expects, and sets it up.
func joinUserNet(ctx context.Context, t *topology.Topology) error {
	old, err := userInterface(ctx, t.Cards)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`link set %s name %s up
address add 10.0.2.15/24 dev %[2]s
route add default via 10.0.2.2
`, old, t.UserNet))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("user network: ip: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// userInterface waits for the interface of the one virtio network card that is no PF, and returns its name.
func userInterface(ctx context.Context, cards []topology.Card) (string, error) {
	var found []string
	err := until(ctx, func() bool {
		links, _ := filepath.Glob("/sys/bus/virtio/drivers/virtio_net/virtio*/net/*")
		found = slices.DeleteFunc(links, func(path string) bool {
			return slices.ContainsFunc(cards, func(c topology.Card) bool { return c.PF.Name == filepath.Base(path) })
		})
		return len(found) == 1
	})
	if err != nil {
		return "", fmt.Errorf("want one interface of a virtio card, found %v: %w", found, err)
	}
	return filepath.Base(found[0]), nil
}

// writeTopology writes the topology for tests in the guest.
func writeTopology(t *topology.Topology) error {
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("topology: %w", err)
	}
	if err := os.WriteFile(topology.File, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("topology: %w", err)
	}
	return nil
}
