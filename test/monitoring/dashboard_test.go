//go:build kube

package monitoring

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

const dashboardFile = component + "dashboard.json"

// dashboardQueries are the expressions of all panels, with values in place of Grafana's variables.
func dashboardQueries(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	kit.Must(t, err)
	var board struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	kit.Must(t, json.Unmarshal(text, &board))
	variables := strings.NewReplacer("$__rate_interval", "1m", "$__range", "6h", "$node", ".*")
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %q has no query", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, variables.Replace(target.Expr))
		}
	}
	if len(all) < 20 {
		t.Fatalf("found %d queries only", len(all))
	}
	return all
}

// TestDashboardIsCurrent: the file is what make docs writes.
func TestDashboardIsCurrent(t *testing.T) {
	t.Parallel()
	generate := exec.CommandContext(t.Context(), "go", "run", ".")
	generate.Dir = "../../docs/gen/dashboard"
	want, err := generate.Output()
	kit.Must(t, err)
	have, err := os.ReadFile(dashboardFile)
	kit.Must(t, err)
	if string(have) != string(want) {
		t.Errorf("%s is not what docs/gen/dashboard prints: run make docs", dashboardFile)
	}
}

// checkPicture: the picture of the dashboard is well-formed, and has more texts than the dashboard has queries.
func checkPicture(t *testing.T, p *prometheus, queries int) {
	t.Helper()
	svg, err := exec.CommandContext(t.Context(), "go", "run", "./picture", "-dashboard="+dashboardFile, "-prometheus="+p.url, "-range=10s").Output()
	kit.Must(t, err)
	decoder, texts := xml.NewDecoder(bytes.NewReader(svg)), 0
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		kit.Must(t, err)
		if e, is := token.(xml.StartElement); is && e.Name.Local == "text" {
			texts++
		}
	}
	if texts < queries {
		t.Errorf("the picture has %d texts for %d queries", texts, queries)
	}
}
