package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
	"github.com/bondkeeper/bondkeeper/pkg/doctor"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/runtime"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// defaultListen is the address of probes and metrics. The agent is in the host's network namespace: only the node
// itself can connect to it.
const defaultListen = "127.0.0.1:9719"

// agentEnv sets the address at which the agent's own pod reaches it: a unix socket, because another program on the node
// may have the port.
const agentEnv = "BONDKEEPER_AGENT"

// defaultAgent is the address of a running agent.
func defaultAgent() string { return cmp.Or(os.Getenv(agentEnv), defaultListen) }

// settings are the flags of run.
type settings struct {
	stateDir, logFormat, logLevel     string
	kubeconfig, node, runtime, listen string
	probeListen                       string
	sysctlNet                         string
	workers, receiveBuffer            int
	resync, grace, sandboxGrace       time.Duration
	timing                            reconcile.Timing
	metricsPerPod                     bool
}

func runCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use: "run", Short: "Repair and report the bonds of this node until SIGTERM or SIGINT", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.validate(cmd.Flags()); err != nil {
				return err
			}
			return run(cmd.Context(), &s)
		},
	}
	runFlags(cmd.Flags(), &s)
	return cmd
}

// validate checks what the types of the flags do not.
func (s *settings) validate(fs *pflag.FlagSet) (err error) {
	fs.VisitAll(func(f *pflag.Flag) {
		if kind := f.Value.Type(); (kind == "int" || kind == "duration") && strings.HasPrefix(f.Value.String(), "-") {
			err = fmt.Errorf("%w: --%s %s: want no negative value", errUsage, f.Name, f.Value)
		}
	})
	if err != nil {
		return err
	}
	sandboxes, err := runtime.Open(s.runtime) // connects to nothing
	if err != nil {
		return fmt.Errorf("%w: --runtime: %w", errUsage, err)
	}
	return sandboxes.Close()
}

func runFlags(fs *pflag.FlagSet, s *settings) {
	fs.StringVar(&s.stateDir, "state-dir", store.DefaultDir, "directory of the records; the plugin's stateDir must be the same")
	fs.StringVar(&s.logFormat, "log-format", "json", "json, or console for a terminal")
	fs.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	kubeconfigFlag(fs, &s.kubeconfig)
	fs.StringVar(&s.node, "node", defaultNode(), "name of this node in the cluster; NODE_NAME sets the default, otherwise the host's name")
	fs.StringVar(&s.runtime, "runtime", runtime.Auto, "container runtime: auto, none, containerd:///PATH/TO/SOCKET or cri:///PATH/TO/SOCKET")
	fs.DurationVar(&s.sandboxGrace, "sandbox-grace", 0, "how long a sandbox must be gone, in kernel and runtime, before its bond is released without a DEL; 0 means 5m")
	fs.StringVar(&s.listen, "listen", defaultListen, "address of /metrics, /healthz, /readyz and /listenz; empty for none")
	fs.StringVar(&s.probeListen, "probe-listen", os.Getenv(agentEnv), "a second such address, for probes without a port of the node: unix:PATH; empty for none; "+agentEnv+" sets the default")
	fs.BoolVar(&s.metricsPerPod, "metrics-per-pod", false, "a metric per bond, with the names of its pod and namespace")
	fs.IntVar(&s.workers, "workers", 0, "bonds reconciled in parallel; 0 means 8")
	fs.IntVar(&s.receiveBuffer, "receive-buffer", 0, "receive buffer for kernel events, in bytes; 0 means 8 MiB")
	fs.DurationVar(&s.resync, "resync", 0, "mean interval of resyncs: bonds that are not Ready are reconciled, others more and more seldom, and settings on PFs are compared; 0 means 45s")
	fs.DurationVar(&s.grace, "grace", 0, "how long to wait before finishing a release that the plugin started; 0 means 30s")
	fs.DurationVar(&s.timing.NoCarrierWait, "carrier-patience", 0, "how long a member may lack carrier while its PF has it, before it is set down and up once; 0 means 15s")
	fs.DurationVar(&s.timing.FlapWindow, "flap-window", 0, "a member lost again within this time of its return, twice in a row, is held back; 0 means 30s")
	fs.DurationVar(&s.timing.SetupQuiet, "setup-quiet", 0, "time without a change by another writer after which pod set-up counts as complete, if neither runtime nor API server shows its end; 0 means 10s")
	fs.DurationVar(&s.timing.SetupTimeout, "setup-timeout", 0, "longest time after ADD until pod set-up counts as complete, if neither runtime nor API server shows its end; 0 means 60s")
	fs.StringVar(&s.sysctlNet, "sysctl-net", os.Getenv(sysctlNetEnv), "directory sys/net of a writable procfs, for containers where /proc/sys is read-only; empty means /proc/sys/net; "+sysctlNetEnv+" sets the default")
}

// run runs the agent until ctx ends.
func run(ctx context.Context, s *settings) error {
	log, err := newLogger(s.logFormat, s.logLevel)
	if err != nil {
		return err
	}
	defer log.Sync() //nolint:errcheck // a terminal cannot be synced
	if f := doctor.Kernel(); f.Level == doctor.Fail {
		return fmt.Errorf("%s is not supported: %s", f.Found, f.Remedy)
	}
	records, err := store.Open(s.stateDir)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	health := agent.NewHealth()
	for _, addr := range []string{s.probeListen, s.listen} {
		group.Go(func() error { health.Serve(ctx, addr, log); return nil })
	}
	group.Go(func() error {
		return agent.WithLock(ctx, records, log, func() error {
			health.Starting()
			return runAgent(ctx, s, records, health, log)
		})
	})
	if os.Getpid() == 1 && (s.kubeconfig == "" || s.kubeconfig == agent.NoKubeconfig) { // a kubeconfig may name a program that client-go runs
		group.Go(func() error { ipam.ReapOrphans(ctx); return nil })
	}
	return group.Wait()
}

// kubeconfigFlag defines --kubeconfig. As with the tools of client-go, the flag wins over the environment, and that
// over the pod's service account.
func kubeconfigFlag(fs *pflag.FlagSet, kubeconfig *string) {
	const env = clientcmd.RecommendedConfigPathEnvVar
	fs.StringVar(kubeconfig, "kubeconfig", os.Getenv(env), "kubeconfig file, or several to be merged, separated by colons; none: no API server; "+
		env+" sets the default; empty means the pod's service account, if any")
}

// defaultNode is the name that the DaemonSet sets, or else the host's name.
func defaultNode() string {
	if name := os.Getenv("NODE_NAME"); name != "" {
		return name
	}
	name, _ := os.Hostname() // if it is empty, what needs it returns an error
	return name
}

func newLogger(format, level string) (*zap.Logger, error) {
	lv, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("%w: --log-level %q: want debug, info, warn or error", errUsage, level)
	}
	var c zap.Config
	switch format {
	case "json":
		c = zap.NewProductionConfig()
		c.Sampling = nil // every line counts in a storm
		c.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	case "console":
		c = zap.NewDevelopmentConfig()
		c.EncoderConfig.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		c.DisableStacktrace = true
		c.DisableCaller = true
	default:
		return nil, fmt.Errorf("%w: --log-format %q: want json or console", errUsage, format)
	}
	c.DisableStacktrace = true
	c.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	c.Level = zap.NewAtomicLevelAt(lv)
	c.OutputPaths, c.ErrorOutputPaths = []string{"stderr"}, []string{"stderr"}
	return c.Build()
}
