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
)

// A VF is known by the PCI address in its link message, and a netns by its cookie, which both came with this kernel
// (IFLA_PARENT_DEV_NAME, SO_NETNS_COOKIE).
const leastMajor, leastMinor = 5, 14

func kernelRelease(context.Context, *Config) Finding { return Kernel() }

// Kernel says whether the running kernel is new enough. The agent reports it when it starts, too.
func Kernel() Finding {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return lack(Fail, "", "uname: %v", err)
	}
	return kernelOf(unix.ByteSliceToString(name.Release[:]))
}

func kernelOf(release string) Finding {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return lack(Warn, fmt.Sprintf("see that it is %d.%d or newer", leastMajor, leastMinor), "kernel %q", release)
	}
	if major < leastMajor || major == leastMajor && minor < leastMinor {
		return lack(Fail, fmt.Sprintf("use a kernel %d.%d or newer: this one does not tell which VF a link is, so ADD refuses VFs", leastMajor, leastMinor), "kernel %s", release)
	}
	return ok("kernel %s", release)
}

func bonding(ctx context.Context, c *Config) Finding {
	unknown, err := c.Probe(ctx)
	switch {
	case errors.Is(err, bond.ErrUnsupported):
		return lack(Fail, "install the kernel's module bonding (on some distributions in a package of extra modules), or load it: modprobe bonding", "the kernel cannot make bonds: %v", err)
	case err != nil:
		return lack(Fail, "give the agent the capabilities of manifests/base", "no bond can be tried: %v", err)
	case len(unknown) > 0:
		var names []string
		for _, o := range unknown {
			names = append(names, fmt.Sprintf("%s (Linux %s)", o, bond.Lookup(o).Since))
		}
		return lack(Warn, "an ADD that asks for one of them fails: leave them out of the network configs, or use a newer kernel", "bonds can be made; options that this kernel does not know: %s", strings.Join(names, ", "))
	}
	return ok("bonds can be made, with every option")
}

// needed are the agent's capabilities: the bit in CapEff and what it is for.
var needed = []struct {
	bit       int
	name, why string
}{
	{unix.CAP_NET_ADMIN, "NET_ADMIN", "change links, addresses and routes"},
	{unix.CAP_SYS_ADMIN, "SYS_ADMIN", "enter the pods' netns"},
	{unix.CAP_NET_BROADCAST, "NET_BROADCAST", "hear the kernel's events of all netns"},
	{unix.CAP_NET_RAW, "NET_RAW", "tell the neighbours after a repair"},
	{unix.CAP_DAC_READ_SEARCH, "DAC_READ_SEARCH", "read sriov-cni's files"},
}

func capabilities(_ context.Context, c *Config) Finding {
	text, err := os.ReadFile(filepath.Join(c.ProcSelf, "status"))
	if err != nil {
		return lack(Fail, "", "%v", err)
	}
	effective, err := capEff(text)
	if err != nil {
		return lack(Fail, "", "%s: %v", filepath.Join(c.ProcSelf, "status"), err)
	}
	var has, lacks []string
	for _, n := range needed {
		if effective&(1<<n.bit) != 0 {
			has = append(has, n.name)
		} else {
			lacks = append(lacks, n.name+" (to "+n.why+")")
		}
	}
	if len(lacks) > 0 {
		return lack(Fail, "run it as root with the securityContext of manifests/base", "missing: %s", strings.Join(lacks, ", "))
	}
	return ok("%s", strings.Join(has, ", "))
}

// capEff is the line CapEff of proc_pid_status(5).
func capEff(status []byte) (uint64, error) {
	for s := bufio.NewScanner(bytes.NewReader(status)); s.Scan(); {
		if value, found := strings.CutPrefix(s.Text(), "CapEff:"); found {
			return strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		}
	}
	return 0, errors.New("no line CapEff")
}

// cards looks for PFs: without one there is nothing to bond, and without the host's network none is seen.
func cards(_ context.Context, c *Config) Finding {
	able, err := filepath.Glob(filepath.Join(c.SysfsPCI, "*", "sriov_totalvfs"))
	if err != nil {
		return lack(Fail, "", "%v", err)
	}
	var seen []string
	unseen := 0
	for _, file := range able {
		dev := filepath.Dir(file)
		links, err := os.ReadDir(filepath.Join(dev, "net"))
		if err != nil || len(links) == 0 {
			unseen++
			continue
		}
		vfs, err := os.ReadFile(filepath.Join(dev, "sriov_numvfs"))
		if err != nil {
			return lack(Fail, "", "%v", err)
		}
		seen = append(seen, fmt.Sprintf("%s (%s, %s VFs)", links[0].Name(), filepath.Base(dev), bytes.TrimSpace(vfs)))
	}
	switch {
	case len(seen) > 0:
		return ok("SR-IOV cards: %s", strings.Join(seen, ", "))
	case unseen > 0:
		return lack(Fail, "run the agent in the host's network (hostNetwork: true), and see that the cards have their network drivers", "%d SR-IOV cards, and no network link of any is here", unseen)
	}
	return lack(Warn, "keep the agent off nodes that have none, if you like", "no SR-IOV card")
}
