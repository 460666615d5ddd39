package docs

import (
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/heal"
)

// TestDemoTable: README's table has the faults that the demo runs, in that order.
func TestDemoTable(t *testing.T) {
	row := regexp.MustCompile(`(?m)^\| ([^|]+) \| (?:–|[0-9.]+ m?s) \| (?:–|[0-9.]+ m?s) \|`)
	var printed, run []string
	for _, m := range row.FindAllStringSubmatch(read(t, filepath.Join(root, "README.md")), -1) {
		printed = append(printed, m[1])
	}
	for _, f := range heal.Demo() {
		run = append(run, f.Name)
	}
	if !slices.Equal(printed, run) {
		t.Errorf("README has\n%q\nand the demo runs\n%q\nrun make demo, and copy its table", printed, run)
	}
}
