package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/install"
)

// installCNI puts the plugin into the node's directory of CNI binaries.
func installCNI(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("agent install-cni", flag.ContinueOnError)
	dir := fs.String("dir", "/host/opt/cni/bin", "the node's directory of CNI binaries")
	source := fs.String("source", "", "the plugin's binary; empty means bond in the directory of this program")
	timeout := fs.Duration("timeout", 2*time.Minute, "time limit, including the wait for another installer")
	watch := fs.Bool("watch", false, "run until SIGTERM or SIGINT and reinstall the plugin whenever another program replaces it")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *source == "" {
		beside, err := besideSelf(install.Name)
		if err != nil {
			return err
		}
		*source = beside
	}
	config, report := install.Config{Source: *source, Dir: *dir}, func(r install.Result) { printInstalled(out, r) }
	if *watch {
		return install.Watch(ctx, config, report)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, *timeout, fmt.Errorf("waited for %s", *timeout))
	defer cancel()
	r, err := install.Plugin(ctx, config)
	if err != nil {
		return err
	}
	report(r)
	return nil
}

func printInstalled(out io.Writer, r install.Result) {
	if r.Backup != "" {
		fmt.Fprintf(out, "backed up the previous plugin as %s\n", r.Backup)
	}
	did := "is installed already"
	if r.Changed {
		did = "installed"
	}
	fmt.Fprintf(out, "%s %s: version %s, sha256 %s\n", r.Path, did, r.Version, r.SHA256)
}

// besideSelf is the path of a file in the directory of this program.
func besideSelf(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's directory: %w", err)
	}
	return filepath.Join(filepath.Dir(self), name), nil
}
