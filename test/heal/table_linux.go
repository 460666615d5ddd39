package heal

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

var columns = []string{"fault", "detected after", "recovered after", "pings lost", "outcome"}

// cells are a row of the table.
func (r *Result) cells() []string {
	outcome := r.Outcome
	if r.Err != nil {
		outcome = "FAILED"
	}
	return []string{r.Name, short(r.Detected), short(r.Recovered), fmt.Sprint(r.Lost), outcome}
}

// WriteTable prints results for a terminal.
func WriteTable(w io.Writer, results []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ToUpper(strings.Join(columns, "\t")))
	for i := range results {
		fmt.Fprintln(t, strings.Join(results[i].cells(), "\t"))
	}
	return t.Flush()
}

// WriteMarkdown prints results as a table of a README.
func WriteMarkdown(w io.Writer, results []Result) error {
	lines := [][]string{columns, {"---", "---:", "---:", "---:", "---"}}
	for i := range results {
		lines = append(lines, results[i].cells())
	}
	for _, cells := range lines {
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")); err != nil {
			return err
		}
	}
	return nil
}
