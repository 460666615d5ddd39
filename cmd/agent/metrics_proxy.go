package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
	"github.com/bondkeeper/bondkeeper/pkg/metricsproxy"
)

// proxySettings are the flags of metrics-proxy.
type proxySettings struct{ listen, upstream, certDir, kubeconfig string }

func metricsProxyCommand() *cobra.Command {
	var s proxySettings
	cmd := &cobra.Command{
		Use: "metrics-proxy", Short: "Serve the metrics of this node's agent over TLS to clients with the right to read them", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return proxyMetrics(cmd.Context(), s) },
	}
	fs := cmd.Flags()
	fs.StringVar(&s.listen, "listen", "", "address of /metrics over TLS; required")
	fs.StringVar(&s.upstream, "upstream", defaultAgent(), "address of the agent's metrics, HOST:PORT or unix:PATH; "+agentEnv+" sets the default, otherwise "+defaultListen)
	fs.StringVar(&s.certDir, "tls-dir", "", "directory with tls.crt and tls.key, read at each connection; without them the certificate is self-signed")
	kubeconfigFlag(fs, &s.kubeconfig)
	return cmd
}

// proxyMetrics serves metrics until ctx ends.
func proxyMetrics(ctx context.Context, s proxySettings) error {
	if s.listen == "" {
		return fmt.Errorf("%w: --listen is required", errUsage)
	}
	log, err := newLogger("json", "info")
	if err != nil {
		return err
	}
	api, err := agent.APIConfig(s.kubeconfig)
	if err != nil {
		return err
	}
	if api == nil {
		return fmt.Errorf("%w: no API server is configured, which must review the clients' tokens", errUsage)
	}
	proxy, err := metricsproxy.New(metricsproxy.Config{API: api, Upstream: agent.Transport(s.upstream), CertDir: s.certDir, Log: log})
	if err != nil {
		return err
	}
	l, err := agent.Listen(ctx, s.listen, log)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	log.Info("metrics proxy started", zap.String("address", l.Addr().String()))
	return proxy.Serve(ctx, l)
}
