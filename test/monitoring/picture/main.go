// Command picture draws the dashboard of manifests/components/monitoring as SVG: it sends the queries of its panels to
// a Prometheus and draws the results. make dashboard-picture runs it in the lab. It shows what the dashboard contains
// and not how Grafana draws it.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// dashboard is the part of a dashboard that is drawn.
type dashboard struct{ Panels []panel }

type panel struct {
	Title, Type string
	Targets     []struct{ Expr, LegendFormat string }
	GridPos     struct{ H, W, X, Y int }
	FieldConfig struct {
		Defaults struct {
			Unit, NoValue string
			Custom        struct{ Stacking struct{ Mode string } }
		}
	}
}

func main() {
	var (
		file  = flag.String("dashboard", "manifests/components/monitoring/dashboard.json", "the dashboard's `file`")
		url   = flag.String("prometheus", "http://127.0.0.1:9090", "`URL` of Prometheus")
		since = flag.Duration("range", 10*time.Minute, "time range")
		until = flag.Duration("until", 0, "how long ago the range ends")
	)
	flag.Parse()
	if err := run(*file, &source{url: *url, end: time.Now().Add(-*until), since: *since}); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run(file string, from *source) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var board dashboard
	if err = json.Unmarshal(text, &board); err != nil {
		return err
	}
	var p page
	for i := range board.Panels {
		if err = p.panel(from, &board.Panels[i]); err != nil {
			return err
		}
	}
	_, err = os.Stdout.WriteString(p.svg())
	return err
}

// legend is the name of a series: the panel's format, with the labels' values.
func legend(format string, labels map[string]string) string {
	for name, value := range labels {
		format = strings.ReplaceAll(format, "{{"+name+"}}", value)
	}
	return format
}
