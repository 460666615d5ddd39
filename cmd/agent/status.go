package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

func statusCommand() *cobra.Command {
	var stateDir, format string
	cmd := &cobra.Command{
		Use: "status", Short: "Show the bonds of this node, whether or not an agent runs", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showStatus(cmd.Context(), stateDir, format, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&stateDir, "state-dir", store.DefaultDir, "directory of the records")
	cmd.Flags().StringVarP(&format, "output", "o", "table", "format: table or json")
	return cmd
}

// showStatus prints the bonds of this node. It needs no running agent.
func showStatus(ctx context.Context, stateDir, format string, out io.Writer) error {
	if format != "table" && format != "json" {
		return fmt.Errorf("%w: -o %s: want table or json", errUsage, format)
	}
	records, err := store.Open(stateDir)
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
	if format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	}
	if len(all) == 0 {
		fmt.Fprintf(out, "no bonds on record in %s\n", stateDir)
		return nil
	}
	return status.WriteTable(out, all, time.Now())
}
