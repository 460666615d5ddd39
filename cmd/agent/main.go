// Command agent watches, repairs and reports the pod bonds of a node. This package has flags, logging, signals and
// wiring, and no logic.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the build (-ldflags -X main.version=...).
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := execute(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

// errUsage makes the exit status 2.
var errUsage = errors.New("usage")

// execute runs the command that args name.
func execute(ctx context.Context, args []string, out io.Writer) error {
	root := newRoot() //nolint:contextcheck // cobra passes ctx to the commands
	root.SetArgs(args)
	root.SetOut(out)
	return root.ExecuteContext(ctx)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "agent",
		Short: "Watch, repair and report the pod bonds of a node",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: no command %q; agent --help lists them", errUsage, args[0])
			}
			return fmt.Errorf("%w: no command is given; agent --help lists them", errUsage)
		},
		RunE:          func(*cobra.Command, []string) error { return nil }, // not reached; without it, cobra checks no arguments
		SilenceErrors: true, SilenceUsage: true,                            // main prints errors
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w; %s --help lists the flags, which begin with two dashes", errUsage, err, cmd.CommandPath())
	})
	root.AddCommand(runCommand(), statusCommand(), explainCommand(), sysdumpCommand(), installCommand(), doctorCommand(), versionCommand())
	return root
}

// noArgs rejects arguments that are no flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: %s takes no argument %q", errUsage, cmd.CommandPath(), args[0])
	}
	return nil
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return err
		},
	}
}
