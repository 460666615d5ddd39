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
		return lack(Fail, "mount the node's directory of CNI binaries there, or name it with -cni-dir", "%v", err)
	}
	return ok("%s, %d entries", c.CNIDir, len(entries))
}

func plugin(ctx context.Context, c *Config) Finding {
	const do = "run agent install-cni"
	path := filepath.Join(c.CNIDir, install.Name)
	about, err := install.Ask(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return lack(Fail, do, "there is no plugin %s", path)
	case err != nil:
		return lack(Fail, do, "%v", err)
	case !install.Ours(path):
		return lack(Fail, do+" (with -watch where the cluster installs its own), or stop whoever installs it", "%s is the plugin of another maker: its bonds are not kept", path)
	case about.Version != c.Version:
		return lack(Fail, do, "%s has version %s, the agent %s", path, about.Version, c.Version)
	}
	return ok("%s has the agent's version, %s", path, about.Version)
}

// ipamPlugins are those that the agent may have to run itself: to release the addresses of a pod whose DEL never came.
var ipamPlugins = []string{"host-local", "dhcp", "static", "whereabouts"}

func ipam(_ context.Context, c *Config) Finding {
	var there, cannot []string
	for _, name := range ipamPlugins {
		loader, err := loaderOf(filepath.Join(c.CNIDir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && loader != "" {
			_, err = os.Stat(loader)
		}
		if err != nil {
			cannot = append(cannot, name+" ("+err.Error()+")")
			continue
		}
		there = append(there, name)
	}
	switch {
	case len(cannot) > 0:
		return lack(Warn, "use static builds; with these the agent cannot release the addresses of a pod whose DEL never came, only the plugin can", "cannot be run here: %s", strings.Join(cannot, ", "))
	case len(there) == 0:
		return lack(Warn, "nothing, if bonds have no addresses of IPAM plugins or these are elsewhere", "%s has none of %s", c.CNIDir, strings.Join(ipamPlugins, ", "))
	}
	return ok("can be run: %s", strings.Join(there, ", "))
}

// loaderOf is the program that loads a dynamic binary; empty for a static one.
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
		return skip("no container runtime is asked (-runtime none): a bond whose pod ended without DEL is kept until the node starts anew")
	}
	ids, err := c.Sandboxes(ctx)
	if err != nil {
		return lack(Fail, "mount the directory of the runtime's socket, as the overlays do, and name it with -runtime; until then a bond whose pod ended without DEL stays", "%v", err)
	}
	return ok("sandboxes that the container runtime has: %d", len(ids))
}
