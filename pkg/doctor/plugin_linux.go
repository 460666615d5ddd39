package doctor

import (
	"context"
	"debug/elf"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/install"
)

func cniDir(_ context.Context, c *Config) Finding {
	entries, err := os.ReadDir(c.CNIDir)
	if err != nil {
		return finding(Fail, "mount the node's directory of CNI binaries there, or name it with --cni-dir", "%v", err)
	}
	return ok("%s, %d entries", c.CNIDir, len(entries))
}

func plugin(ctx context.Context, c *Config) Finding {
	remedy := "restart the agent's pod, whose init container installs it, or run agent install-cni --dir " + c.CNIDir + " on the node"
	path := filepath.Join(c.CNIDir, install.Name)
	about, err := install.Probe(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return finding(Fail, remedy, "there is no plugin %s", path)
	case err != nil:
		return finding(Fail, remedy, "%v", err)
	case !install.IsBondkeeper(path):
		return finding(Fail, remedy+"; if the cluster installs its own again, use --watch as manifests/overlays/okd does, or stop the program that installs it", "%s is another project's plugin: its bonds are not repaired", path)
	case about.Version != c.Version:
		return finding(Fail, remedy, "%s has version %s, the agent %s", path, about.Version, c.Version)
	}
	return ok("%s has the agent's version, %s", path, about.Version)
}

// ipamPlugins are plugins that the agent runs to release the addresses of a pod without a DEL.
var ipamPlugins = []string{"host-local", "dhcp", "static", "whereabouts"}

func ipam(_ context.Context, c *Config) Finding {
	var runnable, broken []string
	for _, name := range ipamPlugins {
		loader, err := loaderOf(filepath.Join(c.CNIDir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && loader != "" {
			_, err = os.Stat(loader)
		}
		if err != nil {
			broken = append(broken, name+" ("+err.Error()+")")
			continue
		}
		runnable = append(runnable, name)
	}
	switch {
	case len(broken) > 0:
		return finding(Warn, "use static builds; with these the agent cannot release the addresses of a pod without a DEL, only the plugin can", "cannot be run here: %s", strings.Join(broken, ", "))
	case len(runnable) == 0:
		return finding(Warn, "nothing, if bonds have no addresses of IPAM plugins or these are elsewhere", "%s has none of %s", c.CNIDir, strings.Join(ipamPlugins, ", "))
	}
	return ok("can be run: %s", strings.Join(runnable, ", "))
}

// loaderOf returns the loader of a dynamic binary; empty for a static one.
func loaderOf(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
			return strings.TrimRight(string(name), "\x00"), err
		}
	}
	return "", nil
}

func runtimeSocket(ctx context.Context, c *Config) Finding {
	if c.Sandboxes == nil {
		return skip("no container runtime is configured (--runtime none): a bond whose pod ended without DEL is not released until the node restarts")
	}
	ids, err := c.Sandboxes(ctx)
	if err != nil {
		return finding(Fail, "mount the directory of the runtime's socket, as the overlays do, and name it with --runtime; until then a bond whose pod ended without DEL stays", "%v", err)
	}
	return ok("sandboxes that the container runtime has: %d", len(ids))
}
