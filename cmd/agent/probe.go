package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
)

// probeTimeout is shorter than that of the probes in the manifests, so that the kubelet's event has the reason.
const probeTimeout = 8 * time.Second

// probePages are the pages of the agent for each probe.
var probePages = map[string]string{"live": "healthz", "ready": "readyz"}

func probeCommand() *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use: "probe {live|ready}", Short: "Ask the running agent whether it is live or ready, for the kubelet's probes",
		Example: "  agent probe live",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || probePages[args[0]] == "" {
				return fmt.Errorf("%w: %s takes one argument, live or ready", errUsage, cmd.CommandPath())
			}
			return nil
		},
		ValidArgs: []string{"live", "ready"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return probeAgent(cmd.Context(), addr, probePages[args[0]], cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&addr, "agent", defaultAgent(), "address of the running agent, HOST:PORT or unix:PATH; "+agentEnv+" sets the default, otherwise "+defaultListen)
	return cmd
}

func probeAgent(ctx context.Context, addr, page string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	text, err := agent.Get(ctx, addr, page)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, text)
	return err
}
