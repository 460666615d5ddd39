package status

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// WriteTable prints bonds and their members for a person, with ages relative to now.
// What comes from a pod (names) is printed quoted where it holds unprintable characters.
func WriteTable(w io.Writer, all []bond.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "POD\tBOND\tSTATE\tMODE\tMAC\tMTU\tACTIVE\tREPAIRS\tLAST REPAIR")
	for i := range all {
		s := &all[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%d\t%s\n",
			safe(s.Pod.String()), safe(s.Key.IfName), s.State, s.Mode, s.MAC, s.MTU, dash(safe(s.Active)), s.Repairs, lastRepair(s.Last, now))
		for _, m := range s.Members {
			fmt.Fprintf(t, "\t  %s\t%s\t%s\t\t\t\t\t%s\n", safe(m.Name), m.State, dash(string(m.PCI)), since(m.Since, now))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range all {
		s := &all[i]
		if s.Reason != "" {
			fmt.Fprintf(w, "\n%s %s: %s\n", safe(s.Pod.String()), safe(s.Key.IfName), safe(s.Reason))
		}
		for _, warning := range s.Warnings {
			fmt.Fprintf(w, "\n%s %s: warning: %s\n", safe(s.Pod.String()), safe(s.Key.IfName), safe(warning))
		}
	}
	return nil
}

// safe keeps a name that a pod chose from writing to the terminal.
func safe(s string) string {
	q := fmt.Sprintf("%+q", s)
	if q == `"`+s+`"` {
		return s
	}
	return q
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func lastRepair(r *bond.Repair, now time.Time) string {
	if r == nil {
		return "-"
	}
	took := time.Duration(r.Took) * time.Millisecond
	who := r.Member
	if who == "" {
		who = "bond"
	}
	return fmt.Sprintf("%s %s, took %s, %s ago", safe(who), r.Cause, took, now.Sub(r.At).Round(time.Second))
}

func since(t time.Time, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return "since " + now.Sub(t).Round(time.Second).String()
}
