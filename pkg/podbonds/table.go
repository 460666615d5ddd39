package podbonds

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/cli"
)

// Columns selects what a table has.
type Columns struct {
	// Namespace is the first column if several namespaces are listed.
	Namespace bool
	// Wide adds mode, MAC, MTU and network.
	Wide bool
}

func (c Columns) head(w io.Writer) {
	if c.Namespace {
		fmt.Fprint(w, "NAMESPACE\t")
	}
	fmt.Fprint(w, "POD\tBOND\tSTATE\tFOR\tUP\tACTIVE\tREPAIRS\tNODE")
	if c.Wide {
		fmt.Fprint(w, "\tMODE\tMAC\tMTU\tNETWORK")
	}
	fmt.Fprintln(w, "\tREASON")
}

func (c Columns) row(w io.Writer, b *Bond, now time.Time) {
	if c.Namespace {
		fmt.Fprintf(w, "%s\t", b.Namespace)
	}
	age := "-"
	if since := b.lostSince(); !since.IsZero() {
		age = now.Sub(since).Round(time.Second).String()
	}
	name, state, reason := b.Interface, string(b.State), b.Reason
	switch {
	case b.Problem != "":
		name, state, reason = "-", "Unknown", b.Problem
	case b.Omitted.Bonds > 0:
		name = fmt.Sprintf("(%d more)", b.Omitted.Bonds)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d/%d\t%s\t%d\t%s", b.Pod, cli.Quote(name), cli.Quote(state), age, b.carrying(), len(b.Members)+b.Omitted.Members,
		cli.Dash(cli.Quote(b.Active)), b.Repairs, cli.Dash(b.Node))
	if c.Wide {
		fmt.Fprintf(w, "\t%s\t%s\t%d\t%s", cli.Dash(cli.Quote(b.Mode)), cli.Dash(cli.Quote(b.MAC)), b.MTU, cli.Dash(cli.Quote(b.Network)))
	}
	fmt.Fprintf(w, "\t%s\n", cli.Dash(cli.Quote(reason)))
}

// Table writes bonds in columns, with a head.
func (c Columns) Table(w io.Writer, all []Bond, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	c.head(t)
	for i := range all {
		c.row(t, &all[i], now)
	}
	return t.Flush()
}

// Rows writes bonds that changed after a table, as kubectl get --watch does.
func (c Columns) Rows(w io.Writer, all []Bond, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for i := range all {
		c.row(t, &all[i], now)
	}
	return t.Flush()
}
