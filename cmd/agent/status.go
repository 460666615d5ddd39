package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// showStatus prints the bonds of this node. It needs no running agent.
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
	records, err := store.Open(*stateDir)
	if err != nil {
		return err
	}
	kernel, err := link.New(link.Options{})
	if err != nil {
		return err
	}
	all, err := agent.Inspect(ctx, records, kernel, func(err error) { fmt.Fprintln(os.Stderr, err) })
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
