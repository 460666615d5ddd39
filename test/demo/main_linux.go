// Command demo shows in a terminal how pods' bonds break and are repaired. It runs in a guest of the lab (make
// demo): two pods ping each other over bonds of real VFs while each fault of package heal happens to
// them. It exits with 1 if a row of the closing table is not as expected.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/bondkeeper/bondkeeper/test/heal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demo(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	bin, markdown, run, timeline string
	noAgent                      bool
}

func parse(args []string) (*options, *regexp.Regexp, error) {
	o := new(options)
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.StringVar(&o.bin, "bin", "bin", "`directory` of the agent and the plugins")
	flags.StringVar(&o.markdown, "markdown", "", "also write the closing table as markdown to this `file`")
	flags.StringVar(&o.run, "run", "", "only the faults whose name matches this `pattern`")
	flags.StringVar(&o.timeline, "timeline", "", "only draw one loss and its repair into this `file` (SVG)")
	flags.BoolVar(&o.noAgent, "no-agent", false, "run without an agent; every row must fail then")
	if err := flags.Parse(args); err != nil {
		return nil, nil, err
	}
	pattern, err := regexp.Compile(o.run)
	return o, pattern, err
}

func demo(ctx context.Context, args []string) (err error) {
	o, pattern, err := parse(args)
	if err != nil {
		return err
	}
	fmt.Println("Two pods with two VFs each, of two cards; the VFs are bonded by the config of the OKD page.")
	began := time.Now()
	r, err := heal.New(ctx, heal.Config{Bin: o.bin, NoAgent: o.noAgent})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close(context.WithoutCancel(ctx))) }()
	fmt.Println(r)
	if o.timeline != "" {
		return timeline(ctx, r, o.timeline)
	}
	results, failed := play(ctx, r, pattern)
	fmt.Println()
	if err := heal.WriteTable(os.Stdout, results); err != nil {
		return err
	}
	fmt.Printf("\n%d faults in %s\n", len(results), time.Since(began).Round(time.Second))
	if o.markdown != "" {
		if err := writeMarkdown(o.markdown, results); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(results) == 0:
		return errors.New("no fault matches")
	case failed > 0:
		return fmt.Errorf("%d of %d rows are not as expected", failed, len(results))
	}
	return nil
}

// play makes the faults happen one after the other and prints each.
func play(ctx context.Context, r *heal.Fixture, pattern *regexp.Regexp) (results []heal.Result, failed int) {
	for _, f := range heal.Demo() {
		if !pattern.MatchString(f.Name) || ctx.Err() != nil {
			continue
		}
		if reason := r.Excluded(f); reason != "" {
			fmt.Printf("\n%s: %s\n", f.Name, reason)
			continue
		}
		fmt.Printf("\n%d. %s (expected: %s)\n", len(results)+1, f.Name, f.Expect)
		began := time.Now()
		res := r.Run(ctx, f, func(step string) {
			fmt.Printf("   %5.1f s  %s\n", time.Since(began).Seconds(), step)
		})
		if res.Err != nil {
			failed++
			fmt.Printf("   FAILED: %v\n", res.Err)
		} else {
			fmt.Printf("   => %s; %d pings lost\n", res.Outcome, res.Lost)
		}
		results = append(results, res)
	}
	return results, failed
}

// timeline draws one loss of a VF and its repair.
func timeline(ctx context.Context, r *heal.Fixture, file string) error {
	t, err := r.Timeline(ctx)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err = t.WriteSVG(&b); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644) //nolint:gosec // a picture for everybody
}

func writeMarkdown(file string, results []heal.Result) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return heal.WriteMarkdown(f, results)
}
