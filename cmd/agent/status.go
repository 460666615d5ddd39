package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// showStatus reads records and kernel itself: it tells the truth without an agent, too.
func showStatus(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("agent status", flag.ContinueOnError)
	stateDir := fs.String("state-dir", store.DefaultDir, "directory of the records")
	format := fs.String("o", "table", "output: table or json")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *format != "table" && *format != "json" {
		return fmt.Errorf("%w: -o %s: want table or json", errUsage, *format)
	}
	all, err := inspectAll(ctx, *stateDir)
	if err != nil {
		return err
	}
	if *format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	}
	if len(all) == 0 {
		fmt.Fprintf(out, "no bonds on record in %s\n", *stateDir)
		return nil
	}
	return status.WriteTable(out, all, time.Now())
}

// inspectAll looks at every recorded bond. One that cannot be read is told on standard error.
func inspectAll(ctx context.Context, stateDir string) ([]bond.Status, error) {
	records, err := store.Open(stateDir)
	if err != nil {
		return nil, err
	}
	kernel, err := link.New(link.Options{})
	if err != nil {
		return nil, err
	}
	list, problems, err := records.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, p)
	}
	engine := reconcile.New(reconcile.Config{
		Kernel: kernel, Store: records, SandboxAlive: kernel.SandboxAlive,
		Records: func(context.Context) ([]*bond.Record, error) { return list, nil },
	})
	all := []bond.Status{}
	for _, r := range list {
		o, err := engine.Inspect(ctx, r.Key)
		if err != nil {
			fmt.Fprintf(os.Stderr, "bond %s of pod %s: %v\n", r.BondName(), r.Pod, err)
			continue
		}
		all = append(all, o.Status)
	}
	return all, nil
}
