package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
	"github.com/bondkeeper/bondkeeper/pkg/doctor"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/link/sriovcni"
	"github.com/bondkeeper/bondkeeper/pkg/runtime"
)

// Variables that set flags' defaults, so that commands in the agent's container work without flags, however the
// node's directories are mounted there.
const (
	sysctlNetEnv = "BONDKEEPER_SYSCTL_NET"
	cniDirEnv    = "BONDKEEPER_CNI_DIR"
)

// doctorSettings are the flags of doctor; those that run has, too, mean the same.
type doctorSettings struct {
	config              doctor.Config
	kubeconfig, runtime string
	agent, format       string
}

func doctorCommand() *cobra.Command {
	var s doctorSettings
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check this node, and show what to do about failed checks", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd.Context(), &s, cmd.OutOrStdout()) },
	}
	cmd.Flags().StringVarP(&s.format, "output", "o", "text", "format of the report: text or json")
	nodeFlags(cmd.Flags(), &s)
	return cmd
}

// nodeFlags define what is checked, and how API server and runtime are reached.
func nodeFlags(fs *pflag.FlagSet, s *doctorSettings) {
	s.config = doctor.Config{
		Version: version, SriovDir: sriovcni.DefaultDir, NetnsDirs: []string{"/run/netns", "/var/run/netns"},
		ProcSelf: "/proc/self", SysfsPCI: "/sys/bus/pci/devices", Probe: link.Probe,
	}
	stateDirFlag(fs, &s.config.StateDir)
	fs.StringVar(&s.config.CNIDir, "cni-dir", cmp.Or(os.Getenv(cniDirEnv), "/opt/cni/bin"), "directory of CNI binaries; "+cniDirEnv+" sets the default, otherwise /opt/cni/bin")
	fs.StringVar(&s.config.SysctlNet, "sysctl-net", cmp.Or(os.Getenv(sysctlNetEnv), "/proc/sys/net"), "directory sys/net of a procfs that can be written; "+sysctlNetEnv+" sets the default, otherwise /proc/sys/net")
	fs.StringVar(&s.config.Node, "node", defaultNode(), "name of this node in the cluster; NODE_NAME sets the default, otherwise the host's name")
	kubeconfigFlag(fs, &s.kubeconfig)
	fs.StringVar(&s.agent, "agent", defaultAgent(), "address of the running agent's probes and metrics, HOST:PORT or unix:PATH; empty for none; "+agentEnv+" sets the default, otherwise "+defaultListen)
	fs.StringVar(&s.runtime, "runtime", runtime.Auto, "container runtime: auto, none, containerd:///PATH/TO/SOCKET or cri:///PATH/TO/SOCKET")
}

// errNotReady makes the exit status 1; the report has the reasons.
var errNotReady = errors.New("the node is not ready")

// runDoctor checks this node and prints the report.
func runDoctor(ctx context.Context, s *doctorSettings, out io.Writer) error {
	write := map[string]func(*doctor.Report, io.Writer) error{"text": (*doctor.Report).WriteText, "json": (*doctor.Report).WriteJSON}[s.format]
	if write == nil {
		return fmt.Errorf("%w: -o %s: want text or json", errUsage, s.format)
	}
	report, err := examine(ctx, s)
	if err != nil {
		return err
	}
	if err := write(&report, out); err != nil {
		return err
	}
	if report.Failed > 0 {
		return fmt.Errorf("%w: %d of %d checks failed", errNotReady, report.Failed, len(report.Findings))
	}
	return nil
}

// examine checks this node.
func examine(ctx context.Context, s *doctorSettings) (doctor.Report, error) {
	var err error
	if s.config.API, err = agent.APIConfig(s.kubeconfig); err != nil && s.kubeconfig != "" {
		return doctor.Report{}, err
	}
	s.config.APIError = err
	if s.runtime != runtime.None {
		sandboxes, err := runtime.Open(s.runtime)
		if err != nil {
			return doctor.Report{}, fmt.Errorf("%w: --runtime: %w", errUsage, err)
		}
		defer sandboxes.Close() //nolint:errcheck // nothing was written through it
		s.config.Sandboxes = sandboxes.Sandboxes
	}
	if s.agent != "" {
		s.config.Agent = func(ctx context.Context, page string) (string, error) { return agent.Get(ctx, s.agent, page) }
	}
	return doctor.Examine(ctx, s.config), nil
}
