// Command cni is the CNI plugin of type "bond". Its binary is named bond.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"

	"github.com/containernetworking/cni/pkg/skel"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// version is set by the build (-ldflags -X main.version=...).
var version = "dev"

func main() {
	debug.SetGCPercent(400) // the first collection is at 16 MiB, which hardly any call allocates
	// A runtime that was restarted meanwhile reads nothing. What is printed then fails and does not end the plugin: ADD
	// is undone, and DEL continues. Unlike Ignore, Notify does not concern the IPAM plugin.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	plugin := &cni.Plugin{Open: open}
	if os.Getenv("CNI_COMMAND") == "DEL" {
		if err := plugin.MainDel(os.Getenv, os.Stdin); err != nil {
			_ = err.Print() // there is nowhere else to report to
			os.Exit(1)
		}
		return
	}
	skel.PluginMainFuncs(plugin.Funcs(), cni.Versions(), "Bondkeeper's CNI plugin bond "+version)
}

func open(stateDir string) (*cni.Backend, error) {
	records, err := store.Open(stateDir)
	if err != nil {
		return nil, err
	}
	kernel, err := link.New(link.Options{})
	if err != nil {
		return nil, err
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, err
	}
	release := unix.ByteSliceToString(name.Release[:])
	return &cni.Backend{
		Kernel: kernel, Store: records, FindMembers: kernel.FindMembers,
		Sandbox: netns.SandboxAt, HostSandbox: hostSandbox, SandboxAlive: kernel.SandboxAlive,
		KernelRelease: release, Probe: func(context.Context) error { return cni.ProbeBonding("/", release) },
	}, nil
}

func hostSandbox() (bond.Sandbox, error) {
	ns, err := netns.Current()
	if err != nil {
		return bond.Sandbox{}, err
	}
	id := ns.ID()
	return bond.Sandbox{Path: ns.Path(), Dev: id.Dev, Inode: id.Inode}, ns.Close()
}
