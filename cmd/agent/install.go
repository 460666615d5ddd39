package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/bondkeeper/bondkeeper/pkg/install"
)

func installCommand() *cobra.Command {
	var s installSettings
	cmd := &cobra.Command{
		Use: "install-cni", Short: "Put the CNI plugin into the directory of CNI binaries, atomically", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return installCNI(cmd.Context(), s, cmd.OutOrStdout()) },
	}
	fs := cmd.Flags()
	fs.StringVar(&s.Dir, "dir", "/host/opt/cni/bin", "the node's directory of CNI binaries")
	fs.StringVar(&s.Source, "source", "", "the plugin's binary; empty means bond in the directory of this program")
	fs.DurationVar(&s.timeout, "timeout", 2*time.Minute, "time limit, including the wait for another installer")
	fs.BoolVar(&s.watch, "watch", false, "run until SIGTERM or SIGINT and reinstall the plugin whenever another program replaces it")
	return cmd
}

// installSettings are the flags of install-cni.
type installSettings struct {
	install.Config
	timeout time.Duration
	watch   bool
}

// installCNI puts the plugin into the node's directory of CNI binaries.
func installCNI(ctx context.Context, s installSettings, out io.Writer) error {
	if s.Source == "" {
		beside, err := besideSelf(install.Name)
		if err != nil {
			return err
		}
		s.Source = beside
	}
	report := func(r install.Result) { printInstalled(out, r) }
	if s.watch {
		return install.Watch(ctx, s.Config, report)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("waited for %s", s.timeout))
	defer cancel()
	r, err := install.Plugin(ctx, s.Config)
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
