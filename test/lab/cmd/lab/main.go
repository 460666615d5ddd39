// Command lab boots a guest with SR-IOV cards and runs commands, tests or a shell in it.
//
//	lab run [flags] [--] COMMAND [ARGS...]   run a command, and exit with its status
//	lab test [flags] PACKAGES...             run packages' tests, built with the tag lab
//	lab shell [flags]                        open a shell
//
// See package lab for what a guest is, and lab SUBCOMMAND -h for the flags.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/bondkeeper/bondkeeper/test/lab"
)

// exitUsage is the status for a wrong command line, exitLab for a failure of the lab itself. A command's own status is
// passed on.
const (
	exitUsage = 2
	exitLab   = 125
)

// stopTime bounds the stop of a guest, which takes a tenth of a second.
const stopTime = 10 * time.Second

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := dispatch(ctx, os.Args[1:])
	cancel()
	os.Exit(code)
}

// dispatch runs a subcommand and returns the exit status.
func dispatch(ctx context.Context, args []string) int {
	commands := map[string]func(context.Context, []string) error{"run": run, "test": test, "shell": shell}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprintln(os.Stderr, "usage: lab run [flags] [--] COMMAND [ARGS...]\n       lab test [flags] PACKAGES...\n       lab shell [flags]")
		return exitUsage
	}
	err := commands[args[0]](ctx, args[1:])
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if exit := new(lab.ExitError); errors.As(err, &exit) && exit.Code > 0 {
		return exit.Code
	}
	if errors.Is(err, errTestsFailed) {
		return 1
	}
	fmt.Fprintln(os.Stderr, strings.TrimSuffix(err.Error(), "\n"))
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitLab
}

// errUsage marks a wrong command line.
var errUsage = errors.New("see lab SUBCOMMAND -h")

// options are the flags of all subcommands.
type options struct {
	cfg     lab.Config
	env     settings
	timeout time.Duration
	verbose bool
	// out receives the output of tests, log the lab's own messages.
	out, log io.Writer
}

// settings is a repeatable flag with values NAME=VALUE.
type settings []string

func (s *settings) String() string { return strings.Join(*s, " ") }

func (s *settings) Set(v string) error {
	if !strings.Contains(v, "=") {
		return errors.New("want NAME=VALUE")
	}
	*s = append(*s, v)
	return nil
}

// newFlags returns a flag set with the common flags.
func newFlags(name string, o *options) *flag.FlagSet {
	o.out, o.log = os.Stdout, os.Stderr
	flags := flag.NewFlagSet("lab "+name, flag.ContinueOnError)
	flags.IntVar(&o.cfg.Cards, "cards", 2, "number of SR-IOV `cards`")
	flags.IntVar(&o.cfg.VFs, "vfs", 4, "number of virtual `functions` a card")
	flags.IntVar(&o.cfg.CPUs, "cpus", 1, "number of the guest's `processors`, at most 8; emulated ones slow each other down")
	flags.IntVar(&o.cfg.MemoryMiB, "memory", 1024, "the guest's memory in `MiB`, at most 2560")
	flags.BoolVar(&o.cfg.UserNet, "usernet", false, "add a card through which the guest reaches the host's loopback as 10.0.2.2")
	flags.StringVar(&o.cfg.WorkDir, "share", "", "`directory` of the host that the guest may write in, at /run/lab/share there")
	flags.StringVar(&o.cfg.Accel, "accel", "", "accelerator: kvm or tcg (default: kvm where it works)")
	flags.Var(&o.env, "env", "`NAME=VALUE` for the environment in the guest; may be repeated")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Minute, "`time` after which the command, or each package's tests, are killed")
	flags.BoolVar(&o.verbose, "v", false, "show everything, the guest's console too")
	return flags
}

// start boots a guest as the flags specify.
func (o *options) start(ctx context.Context) (*lab.Guest, error) {
	began := time.Now()
	o.cfg.Logf = func(format string, args ...any) {
		fmt.Fprintf(o.log, "lab: %4.1f s: %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	if o.verbose {
		o.cfg.Console = o.log
	}
	guest, err := lab.Start(ctx, o.cfg)
	if err != nil {
		return nil, err
	}
	o.cfg.Logf("%d cards with %d VFs each are ready", o.cfg.Cards, o.cfg.VFs)
	return guest, nil
}

// stop ends a guest, also after an interrupt, and adds its error to err.
func stop(ctx context.Context, guest machine, err *error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	*err = errors.Join(*err, guest.Stop(ctx))
}

// run is the subcommand that runs one command. The guest has the working directory of the host.
func run(ctx context.Context, args []string) (err error) {
	var o options
	flags := newFlags("run", &o)
	if err = flags.Parse(args); err != nil {
		return errors.Join(err, ignoreHelp(err))
	}
	if flags.NArg() == 0 {
		return fmt.Errorf("lab run: no command: %w", errUsage)
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	guest, err := o.start(ctx)
	if err != nil {
		return err
	}
	defer stop(ctx, guest, &err)
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return guest.Run(ctx, lab.Cmd{
		Path: flags.Arg(0), Args: flags.Args()[1:], Env: o.env, Dir: dir, Stdout: os.Stdout, Stderr: os.Stderr,
	})
}

// ignoreHelp turns every error of flag parsing into a usage error, except a request for help.
func ignoreHelp(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return errUsage
}
