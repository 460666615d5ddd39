package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cli"
	"github.com/bondkeeper/bondkeeper/pkg/display"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// watchInterval is the time between two observations of status --watch.
const watchInterval = time.Second

// statusSettings are the flags of status.
type statusSettings struct {
	stateDir, format string
	pods, states     []string
	watch            bool
}

func statusCommand() *cobra.Command {
	var s statusSettings
	cmd := &cobra.Command{
		Use: "status", Short: "Show the bonds of this node, whether or not an agent runs", Args: noArgs,
		Example: "  agent status --state Degraded,Down\n  agent status --pod demo/web-0 -o wide --watch",
		RunE:    func(cmd *cobra.Command, _ []string) error { return showStatus(cmd.Context(), &s, cmd.OutOrStdout()) },
	}
	fs := cmd.Flags()
	stateDirFlag(fs, &s.stateDir)
	fs.StringVarP(&s.format, "output", "o", "table", "format: table, wide, json or yaml")
	fs.StringSliceVar(&s.pods, "pod", nil, "only these pods: NAMESPACE/NAME, or NAME in any namespace; separated by commas")
	fs.StringSliceVar(&s.states, "state", nil, "only bonds in these states, separated by commas: Ready, Repairing, Degraded, Stuck, Down, Deleting")
	_ = cmd.RegisterFlagCompletionFunc("pod", completePods)
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(stateNames(), cobra.ShellCompDirectiveNoFileComp))
	fs.BoolVarP(&s.watch, "watch", "w", false, "repeat the output when something changes, until SIGINT")
	return cmd
}

func stateDirFlag(fs *pflag.FlagSet, dir *string) {
	fs.StringVar(dir, "state-dir", store.DefaultDir, "directory of the records")
}

func stateNames() (names []string) {
	for _, s := range bond.States() {
		names = append(names, string(s))
	}
	return names
}

func (s *statusSettings) validate() error {
	if _, known := statusFormats[s.format]; !known {
		return fmt.Errorf("%w: --output %s: want table, wide, json or yaml", errUsage, s.format)
	}
	for _, state := range s.states {
		if !slices.Contains(stateNames(), state) {
			return fmt.Errorf("%w: --state %s: want %s", errUsage, state, strings.Join(stateNames(), ", "))
		}
	}
	return nil
}

// showStatus prints the bonds of this node. It needs no running agent.
func showStatus(ctx context.Context, s *statusSettings, out io.Writer) error {
	if err := s.validate(); err != nil {
		return err
	}
	n, err := openNode(s.stateDir)
	if err != nil {
		return err
	}
	if s.watch {
		return watchStatus(ctx, n, s, out)
	}
	all, err := s.read(ctx, n, func(err error) { fmt.Fprintln(os.Stderr, err) })
	if err != nil {
		return err
	}
	return s.write(out, all, styleOf(out))
}

// read returns the selected bonds.
func (s *statusSettings) read(ctx context.Context, n *node, onError func(error)) ([]bond.Status, error) {
	outcomes, err := n.inspect(ctx, s.pods, onError)
	all := []bond.Status{}
	for i := range outcomes {
		if o := &outcomes[i]; len(s.states) == 0 || slices.Contains(s.states, string(o.Status.State)) {
			all = append(all, o.Status)
		}
	}
	return all, err
}

// statusFormats write what --output names.
var statusFormats = map[string]func(io.Writer, []bond.Status, display.Style) error{
	"table": display.Table,
	"wide": func(w io.Writer, all []bond.Status, style display.Style) error {
		style.Wide = true
		return display.Table(w, all, style)
	},
	"json": func(w io.Writer, all []bond.Status, _ display.Style) error { return cli.WriteJSON(w, all) },
	"yaml": func(w io.Writer, all []bond.Status, _ display.Style) error { return cli.WriteYAML(w, all) },
}

func (s *statusSettings) write(out io.Writer, all []bond.Status, style display.Style) error {
	if len(all) == 0 && (s.format == "table" || s.format == "wide") {
		what := "no bonds on record in " + s.stateDir
		if len(s.pods)+len(s.states) > 0 {
			what = "no such bonds on record in " + s.stateDir
		}
		_, err := fmt.Fprintln(out, what)
		return err
	}
	return statusFormats[s.format](out, all, style)
}

// styleOf is the style for an output: with colors only on a terminal, and not if NO_COLOR is set (no-color.org).
func styleOf(w io.Writer) display.Style {
	return display.Style{Color: isTerminal(w) && os.Getenv("NO_COLOR") == "", Now: time.Now()}
}

func isTerminal(w io.Writer) bool {
	f, isFile := w.(*os.File)
	return isFile && term.IsTerminal(int(f.Fd())) //nolint:gosec // a descriptor is small
}

// node is what commands read that show bonds.
type node struct {
	records *store.Store
	kernel  *link.Kernel
}

func openNode(stateDir string) (*node, error) {
	records, err := store.Open(stateDir)
	if err != nil {
		return nil, err
	}
	kernel, err := link.New(link.Options{})
	if err != nil {
		return nil, err
	}
	return &node{records, kernel}, nil
}

// inspect observes the bonds of the pods, of all pods if none is named.
func (n *node) inspect(ctx context.Context, pods []string, onError func(error)) ([]reconcile.Outcome, error) {
	selected := func(r *bond.Record) bool {
		return len(pods) == 0 || slices.Contains(pods, r.Pod.Name) || slices.Contains(pods, r.Pod.String())
	}
	return agent.Inspect(ctx, n.records, n.kernel, selected, onError)
}
