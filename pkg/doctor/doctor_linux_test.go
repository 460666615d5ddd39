package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// node is a complete node, below a directory.
func node(t *testing.T) *Config {
	t.Helper()
	dir := t.TempDir()
	c := &Config{
		Version: "v1", Node: "a",
		StateDir: filepath.Join(dir, "state"), CNIDir: filepath.Join(dir, "cni"), SriovDir: filepath.Join(dir, "sriov"),
		SysctlNet: filepath.Join(dir, "sysctl"), NetnsDirs: []string{filepath.Join(dir, "netns")},
		ProcSelf: filepath.Join(dir, "self"), SysfsPCI: filepath.Join(dir, "pci"),
		Probe:     func(context.Context) ([]bond.Option, error) { return nil, nil },
		Sandboxes: func(context.Context) ([]string, error) { return []string{"c0ffee"}, nil },
		Agent:     func(context.Context, string) (string, error) { return "ok", nil },
	}
	put(t, filepath.Join(c.ProcSelf, "status"), "Name:\tagent\nCapEff:\t0000000000203804\n")
	put(t, filepath.Join(c.ProcSelf, "mountinfo"), "22 1 0:21 / / rw shared:1 - ext4 /dev/vda rw\n")
	put(t, filepath.Join(c.SysctlNet, "ipv6/conf/all/disable_ipv6"), "0\n")
	put(t, filepath.Join(c.SriovDir, "pci/vf_lock/0000:01:10.0.lock"), "")
	put(t, filepath.Join(c.SysfsPCI, "0000:01:00.0/sriov_totalvfs"), "7\n")
	put(t, filepath.Join(c.SysfsPCI, "0000:01:00.0/sriov_numvfs"), "4\n")
	put(t, filepath.Join(c.SysfsPCI, "0000:01:00.0/class"), "0x020000\n")
	put(t, filepath.Join(c.SysfsPCI, "0000:01:00.0/net/eth1/mtu"), "1500\n")
	mkdir(t, c.NetnsDirs[0])
	netnstest.NewAt(t, filepath.Join(c.NetnsDirs[0], "cni-1"))
	mkdir(t, c.StateDir)
	kit.MountTmpfs(t, c.StateDir)
	plugins(t, c.CNIDir)
	return c
}

func put(t *testing.T, path, text string) {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	kit.Must(t, os.WriteFile(path, []byte(text), 0o600))
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	kit.Must(t, os.MkdirAll(path, 0o700))
}

// ownPlugin is a build of the plugin, of version v1.
var ownPlugin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "doctor-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ownPlugin = filepath.Join(dir, "bond")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X main.version=v1", "-o", ownPlugin, "github.com/bondkeeper/bondkeeper/cmd/cni")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the plugin: %v: %s", err, out)
		return 1
	}
	return m.Run()
}

// plugins adds the plugin to a directory, also in place of an IPAM plugin: a static program.
func plugins(t *testing.T, dir string) {
	t.Helper()
	mkdir(t, dir)
	program, err := os.ReadFile(ownPlugin)
	for _, name := range []string{"bond", "host-local"} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), program, 0o755))
	}
	kit.Must(t, err)
}

func find(t *testing.T, r Report, name string) Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Check == name {
			return f
		}
	}
	t.Fatalf("no check %s", name)
	return Finding{}
}

func TestCompleteNode(t *testing.T) {
	r := Examine(t.Context(), *node(t))
	for _, f := range r.Findings {
		want := OK
		if strings.HasPrefix(f.Check, "api") {
			want = Skip
		}
		if f.Level != want || f.Remedy != "" || f.Found == "" {
			t.Errorf("%s is %s: %s -> %s", f.Check, f.Level, f.Found, f.Remedy)
		}
	}
	if r.Failed != 0 || len(r.Findings) != len(checks) {
		t.Errorf("%d lacking of %d", r.Failed, len(r.Findings))
	}
}

// Each fault of a node is found by its check, which reports what was found and the remedy; no other check fails for it.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name, check string
		level       Level
		found       string
		spoil       func(*testing.T, *Config)
	}{
		{"no bonding", "bonding", Fail, "cannot make bonds", func(_ *testing.T, c *Config) {
			c.Probe = func(context.Context) ([]bond.Option, error) { return nil, fmt.Errorf("%w: no", bond.ErrUnsupported) }
		}},
		{"no right to try", "bonding", Fail, "no bond can be tried", func(_ *testing.T, c *Config) {
			c.Probe = func(context.Context) ([]bond.Option, error) { return nil, unix.EPERM }
		}},
		{"no NET_RAW", "capabilities", Fail, "missing: NET_RAW", func(t *testing.T, c *Config) {
			put(t, filepath.Join(c.ProcSelf, "status"), "CapEff:\t0000000000201804\n")
		}},
		{"no host network", "cards", Fail, "no network link of any is here", func(t *testing.T, c *Config) {
			kit.Must(t, os.RemoveAll(filepath.Join(c.SysfsPCI, "0000:01:00.0/net")))
		}},
		{"SR-IOV of other devices", "cards", Warn, "no SR-IOV card", func(t *testing.T, c *Config) {
			c.SysfsPCI = t.TempDir() // a GPU
			put(t, filepath.Join(c.SysfsPCI, "0000:03:00.0/sriov_totalvfs"), "16\n")
			put(t, filepath.Join(c.SysfsPCI, "0000:03:00.0/class"), "0x030200\n")
		}},
		{"no card", "cards", Warn, "no SR-IOV card", func(t *testing.T, c *Config) { c.SysfsPCI = t.TempDir() }},
		{"state on a disk", "state-dir", Warn, "not in memory", func(_ *testing.T, c *Config) { c.StateDir = filepath.Dir(c.StateDir) + "/disk" }},
		{"state open to others", "state-dir", Fail, "others may write", func(t *testing.T, c *Config) {
			kit.Must(t, os.Chmod(c.StateDir, 0o777))
		}},
		{"state read-only", "state-dir", Fail, "read-only", func(t *testing.T, c *Config) {
			mkdir(t, filepath.Join(c.StateDir, "locks"))
			mkdir(t, filepath.Join(c.StateDir, "tmp"))
			kit.Must(t, unix.Mount("", c.StateDir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		}},
		{"no propagation", "netns", Fail, "is private", func(t *testing.T, c *Config) {
			put(t, filepath.Join(c.ProcSelf, "mountinfo"), "22 1 0:21 / / rw shared:1 - ext4 /dev/vda rw\n23 22 0:22 / "+c.NetnsDirs[0]+" rw - tmpfs tmpfs rw\n")
		}},
		{"plain files", "netns", Fail, "none is a netns", func(t *testing.T, c *Config) {
			netnstest.Unmount(t, filepath.Join(c.NetnsDirs[0], "cni-1"))
		}},
		{"no netns directory", "netns", Warn, "is not there", func(_ *testing.T, c *Config) { c.NetnsDirs = append(c.NetnsDirs, "/nonexistent") }},
		{"sysctls not mounted", "sysctl", Fail, "no such file", func(_ *testing.T, c *Config) { c.SysctlNet = "/nonexistent" }},
		{"no IPv6", "sysctl", Skip, "no IPv6", func(t *testing.T, c *Config) { c.SysctlNet = t.TempDir() }},
		{"no CNI directory", "cni-dir", Fail, "no such file", func(_ *testing.T, c *Config) { c.CNIDir = "/nonexistent" }},
		{"no plugin", "plugin", Fail, "there is no plugin", func(t *testing.T, c *Config) {
			kit.Must(t, os.Remove(filepath.Join(c.CNIDir, "bond")))
		}},
		{"another maker's plugin", "plugin", Fail, "another project's plugin", func(t *testing.T, c *Config) {
			text := "#!/bin/sh\necho '{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"1.0.0\"]}'\n"
			path := filepath.Join(c.CNIDir, "bond")
			kit.Must(t, errors.Join(os.WriteFile(path, []byte(text), 0o700), os.Chmod(path, 0o700)))
		}},
		{"another version", "plugin", Fail, "has version v1, the agent v2", func(_ *testing.T, c *Config) { c.Version = "v2" }},
		{"IPAM plugins that need a loader", "ipam", Warn, "cannot be run here: dhcp", func(t *testing.T, c *Config) { dynamic(t, filepath.Join(c.CNIDir, "dhcp")) }},
		{"sriov-cni unknown", "sriov-cni", Warn, "is not there", func(_ *testing.T, c *Config) { c.SriovDir = "/nonexistent" }},
		{"sriov-cni unreadable", "sriov-cni", Fail, "not a directory", func(t *testing.T, c *Config) {
			c.SriovDir = t.TempDir()
			put(t, filepath.Join(c.SriovDir, "pci"), "")
		}},
		{"no runtime", "runtime", Fail, "refused", func(_ *testing.T, c *Config) {
			c.Sandboxes = func(context.Context) ([]string, error) { return nil, unix.ECONNREFUSED }
		}},
		{"no agent", "agent", Warn, "not live: refused", failingPage("healthz", "refused")},
		{"an agent that waits", "agent", Warn, "not ready: waits", failingPage("readyz", "waits")},
		{"a port of another program", "agent", Warn, "in use", failingPage("listenz", "in use")},
		{"agent not asked", "agent", Skip, "", func(_ *testing.T, c *Config) { c.Agent = nil }},
		{"runtime not asked", "runtime", Skip, "", func(_ *testing.T, c *Config) { c.Sandboxes = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := node(t)
			tt.spoil(t, c)
			r := Examine(t.Context(), *c)
			f := find(t, r, tt.check)
			if f.Level != tt.level || !strings.Contains(f.Found, tt.found) || (f.Remedy == "") != (tt.level == Skip) {
				t.Errorf("%s: %s -> %s", f.Level, f.Found, f.Remedy)
			}
			for _, other := range r.Findings {
				if other.Level == Fail && other.Check != tt.check && c.CNIDir != "/nonexistent" {
					t.Errorf("%s fails, too: %s", other.Check, other.Found)
				}
			}
			if (r.Failed > 0) != (tt.level == Fail) {
				t.Errorf("%d lacking", r.Failed)
			}
		})
	}
}

// failingPage makes one page of the running agent fail.
func failingPage(page, text string) func(*testing.T, *Config) {
	return func(_ *testing.T, c *Config) {
		c.Agent = func(_ context.Context, got string) (string, error) {
			if got == page {
				return "", errors.New(text)
			}
			return "ok", nil
		}
	}
}

// dynamic makes a copy of a system program that needs a missing loader.
func dynamic(t *testing.T, path string) {
	t.Helper()
	program, err := os.ReadFile("/bin/sh")
	kit.Must(t, err)
	loader, err := loaderOf("/bin/sh")
	if err != nil || loader == "" {
		t.Fatalf("/bin/sh is static: %q, %v", loader, err)
	}
	gone := "/" + strings.Repeat("x", len(loader)-1)
	put(t, path, string(bytes.ReplaceAll(program, []byte(loader), []byte(gone))))
}

// One line per finding, whatever is found; and the same for programs.
func TestOutput(t *testing.T) {
	r := Report{Version: "v1", Node: "a", Failed: 1, Findings: []Finding{
		{Check: "one", Level: OK, Found: "fine"}, {Check: "second", Level: Fail, Found: "bad\nok    three  \x1b[2J", Remedy: "mend it"},
	}}
	var text, data strings.Builder
	kit.Must(t, r.WriteText(&text))
	if want := "ok    one     fine\nfail  second  bad ok    three   [2J -> mend it\n"; text.String() != want {
		t.Errorf("got\n%swant\n%s", text.String(), want)
	}
	kit.Must(t, r.WriteJSON(&data))
	var back Report
	if err := json.Unmarshal([]byte(data.String()), &back); err != nil || back.Failed != 1 || back.Findings[1] != r.Findings[1] {
		t.Errorf("%s: %v", data.String(), err)
	}
}
