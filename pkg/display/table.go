package display

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cli"
)

// Table writes a line per bond, one per member, and then the reasons and warnings.
func Table(w io.Writer, all []bond.Status, s Style) error {
	var lines strings.Builder
	head := []string{"POD", "BOND", s.colored("STATE", plainColor), "FOR", "MODE", "ACTIVE", "REPAIRS", "LAST REPAIR"}
	if s.Wide {
		head = append(head, "NETWORK", "MAC", "MTU")
	}
	row := func(cells []string) {
		for range len(head) - len(cells) {
			cells = append(cells, "")
		}
		lines.WriteString(strings.Join(cells, "\t") + "\t\n")
	}
	row(head)
	for i := range all {
		row(s.bondCells(&all[i]))
		for j := range all[i].Members {
			row(s.memberCells(&all[i].Members[j]))
		}
	}
	if err := aligned(w, lines.String()); err != nil {
		return err
	}
	for i := range all {
		if err := writeReasons(w, &all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s Style) bondCells(b *bond.Status) []string {
	cells := []string{
		cli.Quote(b.Pod.String()), cli.Quote(b.Key.IfName), s.colored(string(b.State), stateColor(b.State)), s.age(b.Since),
		b.Mode, cli.Dash(cli.Quote(b.Active)), strconv.Itoa(b.Repairs), s.lastRepair(b.Last),
	}
	if s.Wide {
		cells = append(cells, cli.Dash(cli.Quote(b.Network)), cli.Dash(string(b.MAC)), strconv.Itoa(b.MTU))
	}
	return cells
}

func (s Style) memberCells(m *bond.MemberStatus) []string {
	vf, since := "", ""
	if m.PF != "" {
		vf = "VF " + strconv.Itoa(m.VF) + " of " + string(m.PF)
	}
	if !m.Since.IsZero() {
		since = s.age(m.Since)
	}
	return []string{"", "  " + cli.Quote(m.Name), s.colored(string(m.State), memberColor(m.State)), since, cli.Dash(string(m.PCI)), vf}
}

func (s Style) lastRepair(r *bond.Repair) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprintf("%s %s, took %s, %s ago", subject(r.Member), r.Cause, took(r), s.age(r.At))
}

// writeReasons writes the reason and the warnings of a bond.
func writeReasons(w io.Writer, b *bond.Status) error {
	name := cli.Quote(b.Pod.String()) + " " + cli.Quote(b.Key.IfName)
	if b.Reason != "" {
		if _, err := fmt.Fprintf(w, "\n%s: %s\n", name, cli.Quote(b.Reason)); err != nil {
			return err
		}
	}
	for _, warning := range b.Warnings {
		if _, err := fmt.Fprintf(w, "\n%s: warning: %s\n", name, cli.Quote(warning)); err != nil {
			return err
		}
	}
	return nil
}
