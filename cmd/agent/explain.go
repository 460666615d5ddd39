package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/bondkeeper/bondkeeper/pkg/cli"
	"github.com/bondkeeper/bondkeeper/pkg/display"
)

func explainCommand() *cobra.Command {
	var stateDir, format string
	cmd := &cobra.Command{
		Use: "explain POD", Short: "Explain the state of a pod's bonds: desired, observed, findings, plan, and what to do",
		Long:    "Explain the state of a pod's bonds: what is desired and observed, what was found, what a reconcile would do now, and what\nan operator has to do. POD is NAMESPACE/NAME, or NAME in any namespace. It changes nothing, and needs no running agent.",
		Example: "  agent explain demo/web-0",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%w: %s takes one argument, the pod", errUsage, cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			return explain(cmd.Context(), stateDir, args[0], format, cmd.OutOrStdout())
		},
	}
	stateDirFlag(cmd.Flags(), &stateDir)
	cmd.Flags().StringVarP(&format, "output", "o", "text", "format: text, json or yaml")
	return cmd
}

func explain(ctx context.Context, stateDir, pod, format string, out io.Writer) error {
	if format != "text" && format != "json" && format != "yaml" {
		return fmt.Errorf("%w: --output %s: want text, json or yaml", errUsage, format)
	}
	n, err := openNode(stateDir)
	if err != nil {
		return err
	}
	outcomes, err := n.inspect(ctx, []string{pod}, func(err error) { fmt.Fprintln(os.Stderr, err) })
	if err != nil {
		return err
	}
	if len(outcomes) == 0 {
		return fmt.Errorf("pod %s has no bond on record in %s; agent status lists those that are", pod, stateDir)
	}
	var all []display.Explanation
	for i := range outcomes {
		all = append(all, display.Explain(&outcomes[i]))
	}
	switch format {
	case "json":
		return cli.WriteJSON(out, all)
	case "yaml":
		return cli.WriteYAML(out, all)
	}
	for i := range all {
		if err := all[i].WriteText(out, styleOf(out)); err != nil {
			return err
		}
	}
	return nil
}
