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

// execute runs the command that args name. An error before the command runs is a usage error.
func execute(ctx context.Context, args []string, out io.Writer) error {
	root := newRoot() //nolint:contextcheck // cobra passes ctx to the commands
	root.SetArgs(args)
	root.SetOut(out)
	runs := false
	root.PersistentPreRun = func(*cobra.Command, []string) { runs = true }
	err := root.ExecuteContext(ctx)
	if err != nil && !runs && !errors.Is(err, errUsage) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return err
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "agent",
		Short:         "Watch, repair and report the pod bonds of a node",
		SilenceErrors: true, SilenceUsage: true, // main prints errors
	}
	needsCommand(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w; %s --help lists the flags, which begin with two dashes", errUsage, err, cmd.CommandPath())
	})
	root.AddCommand(runCommand(), statusCommand(), explainCommand(), sysdumpCommand(), installCommand(), doctorCommand(), probeCommand(), metricsProxyCommand(), versionCommand())
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.HasSubCommands() {
			needsCommand(c)
		}
	}
	return root
}

// needsCommand makes a command without one of its subcommands an error. By default cobra prints its help and succeeds.
func needsCommand(cmd *cobra.Command) {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("%w: no command %q; %s --help lists them", errUsage, args[0], cmd.CommandPath())
		}
		return fmt.Errorf("%w: no command is given; %s --help lists them", errUsage, cmd.CommandPath())
	}
	cmd.RunE = func(*cobra.Command, []string) error { return nil } // not reached; without it, cobra checks no arguments
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
