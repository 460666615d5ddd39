// Command bench measures the plugin and the agent against what the kernel itself needs for the same work. It runs in a
// guest of the lab (make bench-lab). All contenders alternate within one run, because machines are shared and the lab is
// emulated: only the ratios mean something.
//
// It prints tables, and with -out writes them as markdown, with plots, into a directory. docs/performance.md shows them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	bin, peer, out string
	rounds, losses int
	// bonds are the numbers of bonds of scale, storm that of storm, and storms the rounds of it.
	bonds         []int
	storm, storms int
	// foreign is the number of links that come and go, pings the number of pings per way of a restart.
	foreign, pings int
	rest           time.Duration
}

// part is one measurement. It returns its report.
type part struct {
	name string
	run  func(context.Context, *options) (*report, error)
}

var parts = []part{
	{"verbs", verbs},
	{"repair", repair},
	{"storm", storm},
	{"cards", cards},
	{"foreign", foreign},
	{"upgrade", upgrade},
	{"size", size},
	{"scale", scale},
}

func run(ctx context.Context, args []string) error {
	o := new(options)
	var only string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.bin, "bin", "bin", "`directory` of agent, plugins and floor")
	flags.StringVar(&o.peer, "peer", "", "another bond plugin to compare with (a `program`)")
	flags.StringVar(&o.out, "out", "", "`directory` for tables and plots")
	flags.IntVar(&o.rounds, "rounds", 30, "`number` of ADDs and DELs of each contender")
	flags.IntVar(&o.losses, "losses", 500, "`number` of losses to repair")
	bonds := flags.String("bonds", "1,16,64,256,1024", "comma-separated `numbers` of bonds for scale")
	flags.IntVar(&o.storm, "storm", 256, "`number` of bonds that lose a member at once")
	flags.IntVar(&o.storms, "storms", 3, "`number` of storms")
	flags.IntVar(&o.foreign, "foreign", 10000, "`number` of foreign links that come and go")
	flags.IntVar(&o.pings, "pings", 3000, "`number` of pings over each restart of the agent, 100 per second")
	flags.DurationVar(&o.rest, "rest", time.Minute, "`time` at rest that is measured")
	flags.StringVar(&only, "parts", "", "comma-separated `names` of the parts to run; all if empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, text := range strings.Split(*bonds, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("-bonds %q: want numbers", *bonds)
		}
		o.bonds = append(o.bonds, n)
	}
	for _, p := range parts {
		if only != "" && !slices.Contains(strings.Split(only, ","), p.name) {
			continue
		}
		r, err := p.run(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err = r.publish(os.Stdout, o.out, p.name); err != nil {
			return err
		}
	}
	return nil
}

// publish prints the report and writes its files.
func (r *report) publish(stdout *os.File, dir, name string) error {
	text := r.markdown()
	if _, err := stdout.WriteString(text + "\n"); err != nil || dir == "" {
		return err
	}
	err := os.WriteFile(filepath.Join(dir, name+".md"), []byte(text), 0o644) //nolint:gosec // a table for everybody
	if err != nil || r.plot == nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".svg"), r.plot.svg(), 0o644) //nolint:gosec // a picture for everybody
}
