package doctor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/virtiopci"
)

func kernelRelease(context.Context, *Config) Finding { return Kernel() }

// Kernel checks the version of the running kernel. The agent logs it at its start, too.
func Kernel() Finding {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return finding(Fail, "", "uname: %v", err)
	}
	return kernelOf(unix.ByteSliceToString(name.Release[:]))
}

func kernelOf(release string) Finding {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return finding(Warn, fmt.Sprintf("see that it is %d.%d or newer", bond.MinKernelMajor, bond.MinKernelMinor), "kernel %q", release)
	}
	if bond.CheckKernel(release) != nil {
		return finding(Fail, fmt.Sprintf("use a kernel %d.%d or newer: this one does not report which VF a link is, so ADD and the agent refuse", bond.MinKernelMajor, bond.MinKernelMinor), "kernel %s", release)
	}
	return ok("kernel %s", release)
}

func bonding(ctx context.Context, c *Config) Finding {
	unknown, err := c.Probe(ctx)
	switch {
	case errors.Is(err, bond.ErrUnsupported):
		return finding(Fail, "install the kernel's module bonding (on some distributions in a package of extra modules), or load it: modprobe bonding", "the kernel cannot make bonds: %v", err)
	case err != nil:
		return finding(Fail, "give the agent the capabilities of manifests/base", "no bond can be tried: %v", err)
	case len(unknown) > 0:
		var names []string
		for _, o := range unknown {
			names = append(names, fmt.Sprintf("%s (Linux %s)", o, bond.LookupOption(o).Since))
		}
		return ok("bonds can be made; an ADD fails with the options of newer kernels: %s", strings.Join(names, ", "))
	}
	return ok("bonds can be made, with every option")
}

// requiredCapabilities are the agent's capabilities: the bit in CapEff, and what it is for.
var requiredCapabilities = []struct {
	bit           int
	name, purpose string
}{
	{unix.CAP_NET_ADMIN, "NET_ADMIN", "change links, addresses and routes"},
	{unix.CAP_SYS_ADMIN, "SYS_ADMIN", "enter the pods' netns"},
	{unix.CAP_NET_BROADCAST, "NET_BROADCAST", "receive the kernel's events of all netns"},
	{unix.CAP_NET_RAW, "NET_RAW", "announce addresses to neighbours after a repair"},
	{unix.CAP_DAC_READ_SEARCH, "DAC_READ_SEARCH", "read sriov-cni's files"},
}

func capabilities(_ context.Context, c *Config) Finding {
	text, err := os.ReadFile(filepath.Join(c.ProcSelf, "status"))
	if err != nil {
		return finding(Fail, "", "%v", err)
	}
	effective, err := capEff(text)
	if err != nil {
		return finding(Fail, "", "%s: %v", filepath.Join(c.ProcSelf, "status"), err)
	}
	var has, absent []string
	for _, n := range requiredCapabilities {
		if effective&(1<<n.bit) != 0 {
			has = append(has, n.name)
		} else {
			absent = append(absent, n.name+" (to "+n.purpose+")")
		}
	}
	if len(absent) > 0 {
		return finding(Fail, "run it as root with the securityContext of manifests/base", "missing: %s", strings.Join(absent, ", "))
	}
	return ok("%s", strings.Join(has, ", "))
}

// capEff parses the line CapEff of proc_pid_status(5).
func capEff(status []byte) (uint64, error) {
	for s := bufio.NewScanner(bytes.NewReader(status)); s.Scan(); {
		if value, found := strings.CutPrefix(s.Text(), "CapEff:"); found {
			return strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		}
	}
	return 0, errors.New("no line CapEff")
}

// cards looks for PFs: without one there is nothing to bond, and PFs are visible only in the host's network.
func cards(_ context.Context, c *Config) Finding {
	able, err := filepath.Glob(filepath.Join(c.SysfsPCI, "*", "sriov_totalvfs"))
	if err != nil {
		return finding(Fail, "", "%v", err)
	}
	var seen []string
	unseen := 0
	for _, file := range able {
		dev := filepath.Dir(file)
		links, err := os.ReadDir(virtiopci.NetDir(dev))
		if err != nil || len(links) == 0 {
			if isNetworkController(dev) {
				unseen++
			}
			continue
		}
		vfs, err := os.ReadFile(filepath.Join(dev, "sriov_numvfs"))
		if err != nil {
			return finding(Fail, "", "%v", err)
		}
		seen = append(seen, fmt.Sprintf("%s (%s, %s VFs)", links[0].Name(), filepath.Base(dev), bytes.TrimSpace(vfs)))
	}
	switch {
	case len(seen) > 0:
		return ok("SR-IOV cards: %s", strings.Join(seen, ", "))
	case unseen > 0:
		return finding(Fail, "run the agent in the host's network (hostNetwork: true), and see that the cards have their network drivers", "%d SR-IOV cards, and no network link of any is here", unseen)
	}
	return finding(Warn, "keep the agent off nodes that have none, if you like", "no SR-IOV card")
}

// isNetworkController reports whether a PCI function is one by its class. GPUs, disks and accelerators have VFs, too. A
// function without a class counts as one.
func isNetworkController(dev string) bool {
	class, err := os.ReadFile(filepath.Join(dev, "class"))
	return err != nil || bytes.HasPrefix(class, []byte("0x02"))
}
