package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
	"github.com/bondkeeper/bondkeeper/pkg/doctor"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/sysdump"
)

// sysdumpSettings are the flags of sysdump: those of doctor, and its own.
type sysdumpSettings struct {
	doctorSettings
	file string
}

func sysdumpCommand() *cobra.Command {
	var s sysdumpSettings
	cmd := &cobra.Command{
		Use: "sysdump", Short: "Write an archive for a bug report: records, kernel state, PF settings, logs, versions", Args: noArgs,
		Long: "Write an archive (tar, gzip) for a bug report: records, links, addresses, routes and bonds of host and pods, PF settings,\n" +
			"sriov-cni's files, the doctor's report, metrics, logs and versions. Values of fields whose names look like secrets are\n" +
			"replaced, and so are the users of URLs. It changes nothing and needs no running agent. What could not be read is listed in problems.txt.",
		Example: "  agent sysdump --output dump.tar.gz\n  kubectl exec -n bondkeeper AGENT_POD -- /agent sysdump > dump.tar.gz",
		RunE:    func(cmd *cobra.Command, _ []string) error { return writeSysdump(cmd.Context(), &s, cmd.OutOrStdout()) },
	}
	nodeFlags(cmd.Flags(), &s.doctorSettings)
	cmd.Flags().StringVarP(&s.file, "output", "o", "", "file to create; empty means standard output")
	return cmd
}

func writeSysdump(ctx context.Context, s *sysdumpSettings, out io.Writer) (err error) {
	if s.file == "" && isTerminal(out) {
		return fmt.Errorf("%w: an archive is not written to a terminal; redirect the output or use --output FILE", errUsage)
	}
	n, err := openNode(s.config.StateDir)
	if err != nil {
		return err
	}
	if s.file != "" {
		f, failed := os.OpenFile(s.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if failed != nil {
			return failed
		}
		defer func() {
			if failed := f.Close(); err == nil {
				err = failed
			}
		}()
		out = f
	}
	var running http.RoundTripper
	if s.agent != "" {
		running = agent.Transport(s.agent)
	}
	return sysdump.Write(ctx, out, sysdump.Config{
		Version: version, Node: s.config.Node, StateDir: s.config.StateDir, SriovDir: s.config.SriovDir, Agent: running, Now: time.Now,
		LogDirs: []string{"/var/log/pods/*_bondkeeper-agent-*/*/*.log"},
		Inspect: func(ctx context.Context, onError func(error)) ([]reconcile.Outcome, error) {
			return n.inspect(ctx, nil, onError)
		},
		Doctor: func(ctx context.Context) (doctor.Report, error) { return examine(ctx, &s.doctorSettings) },
	})
}
