// Command agent watches, repairs and reports the pod bonds of a node. This package has flags, logging, signals and
// wiring, and no logic.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the build (-ldflags -X main.version=...).
var version = "dev"

// command is one of the agent's subcommands.
type command struct {
	name, help string
	run        func(ctx context.Context, args []string, out io.Writer) error
}

func commands() []command {
	return []command{
		{"run", "repair and report the bonds of this node until SIGTERM or SIGINT", run},
		{"status", "show the bonds of this node, whether or not an agent runs", showStatus},
		{"install-cni", "put the CNI plugin into the directory of CNI binaries, atomically", installCNI},
		{"doctor", "check this node, and show what to do about failed checks", runDoctor},
		{"version", "print the version", showVersion},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := dispatch(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage")

func dispatch(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		usage(os.Stderr)
		return fmt.Errorf("%w: which command?", errUsage)
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:], out)
		}
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage(out)
		return nil
	}
	usage(os.Stderr)
	return fmt.Errorf("%w: no command %q", errUsage, args[0])
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "Usage: agent COMMAND [flags]; agent COMMAND -h lists the flags")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-11s  %s\n", c.name, c.help)
	}
}

// parse reads a command's flags; there are no other arguments.
func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%w: %s takes no argument %q", errUsage, fs.Name(), fs.Arg(0))
	}
	return nil
}

func showVersion(_ context.Context, args []string, out io.Writer) error {
	if err := parse(flag.NewFlagSet("agent version", flag.ContinueOnError), args); err != nil {
		return err
	}
	fmt.Fprintln(out, version)
	return nil
}
