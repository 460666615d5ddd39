// Command kubectl-bonds is a plugin of kubectl: kubectl bonds shows the bonds of a cluster's pods. This package has
// flags and wiring, and no logic.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes"

	"github.com/bondkeeper/bondkeeper/pkg/cli"
	"github.com/bondkeeper/bondkeeper/pkg/podbonds"
)

// version is set by the build (-ldflags -X main.version=...).
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	cmd := newCommand()
	err := cmd.ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1) // for every error, as kubectl
	}
}

// settings are the flags.
type settings struct {
	config               *genericclioptions.ConfigFlags
	allNamespaces, watch bool
	selector, output     string
}

func newCommand() *cobra.Command {
	s := &settings{config: genericclioptions.NewConfigFlags(true)}
	root := &cobra.Command{
		Use: "kubectl-bonds", Short: "Show the bonds of pods, the worst first", Version: version, Args: cobra.NoArgs,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl bonds"},
		Example:       "  kubectl bonds -A\n  kubectl bonds -n demo -l app=web -o wide\n  kubectl bonds explain web-0 -n demo",
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.list(cmd.Context(), cmd.OutOrStdout()) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	s.config.AddFlags(root.PersistentFlags())
	root.Flags().BoolVarP(&s.allNamespaces, "all-namespaces", "A", false, "show the pods of all namespaces")
	root.Flags().StringVarP(&s.selector, "selector", "l", "", "show only pods with these labels, for example app=web")
	root.Flags().StringVarP(&s.output, "output", "o", "", "format: wide, json or yaml; a table by default")
	root.Flags().BoolVarP(&s.watch, "watch", "w", false, "after the list, show bonds as their pods change, until SIGINT")
	explain := &cobra.Command{
		Use: "explain POD", Short: "Show everything that is reported about a pod's bonds: state, members, reasons, events", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.explain(cmd.Context(), args[0], cmd.OutOrStdout())
		},
	}
	root.AddCommand(explain)
	return root
}

// open returns a client and the namespace that kubectl would use.
func (s *settings) open() (kubernetes.Interface, string, error) {
	config, err := s.config.ToRESTConfig()
	if err != nil {
		return nil, "", err
	}
	namespace, _, err := s.config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, "", err
	}
	client, err := kubernetes.NewForConfig(config)
	return client, namespace, err
}

func (s *settings) list(ctx context.Context, out io.Writer) error {
	switch s.output {
	case "", "wide":
	case "json", "yaml":
		if s.watch {
			return errors.New("--watch has a table only; use kubectl get pods -o json --watch")
		}
	default:
		return fmt.Errorf("--output %s: want wide, json or yaml", s.output)
	}
	client, namespace, err := s.open()
	if err != nil {
		return err
	}
	if s.allNamespaces {
		namespace = ""
	}
	all, version, err := podbonds.List(ctx, client, namespace, s.selector)
	if err != nil {
		return err
	}
	columns := podbonds.Columns{Namespace: s.allNamespaces, Wide: s.output == "wide"}
	if err = s.write(out, all, columns, namespace); err != nil || !s.watch {
		return err
	}
	return podbonds.Watch(ctx, client, namespace, s.selector, all, version, func(changed []podbonds.Bond) error {
		return columns.Rows(out, changed, time.Now())
	})
}

func (s *settings) write(out io.Writer, all []podbonds.Bond, columns podbonds.Columns, namespace string) error {
	switch {
	case s.output == "json":
		return cli.WriteJSON(out, all)
	case s.output == "yaml":
		return cli.WriteYAML(out, all)
	case len(all) == 0:
		where := "namespace " + namespace
		if namespace == "" {
			where = "any namespace"
		}
		_, err := fmt.Fprintf(os.Stderr, "No pods with bonds found in %s.\n", where)
		return err
	default:
		return columns.Table(out, all, time.Now())
	}
}

func (s *settings) explain(ctx context.Context, pod string, out io.Writer) error {
	client, namespace, err := s.open()
	if err != nil {
		return err
	}
	e, err := podbonds.Explain(ctx, client, namespace, pod)
	if err != nil {
		return err
	}
	return e.WriteText(out, time.Now())
}
