//go:build kube

package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// start runs a program until the test ends. It returns the program's output.
func start(t *testing.T, program string, args ...string) *kit.Output {
	t.Helper()
	out := new(kit.Output)
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	kit.Must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Wait() // killed by the end of the context
		if t.Failed() {
			t.Logf("output of %s:\n%s", filepath.Base(program), out)
		}
	})
	return out
}

// prometheus is a running Prometheus with the rules of the manifests.
type prometheus struct{ url string }

// jobs are scrape configs by job name.
type jobs []map[string]any

// startPrometheus returns when Prometheus is ready. It scrapes and evaluates often, and alerts fire at once.
func startPrometheus(t *testing.T, scrape jobs) *prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, _ := ruleFile(t)
	config, err := yaml.Marshal(map[string]any{
		"global":         map[string]any{"scrape_interval": "250ms", "evaluation_interval": "250ms"},
		"rule_files":     []string{"rules.yaml"},
		"scrape_configs": scrape,
	})
	kit.Must(t, err)
	kit.WriteFile(t, filepath.Join(dir, "rules.yaml"), regexp.MustCompile(`(?m)^ *for: .*\n`).ReplaceAllString(string(rules), ""))
	kit.WriteFile(t, filepath.Join(dir, "prometheus.yaml"), string(config))
	out := start(t, programs+"prometheus", "--config.file="+filepath.Join(dir, "prometheus.yaml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	listening := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	p := new(prometheus)
	kit.Eventually(t, "Prometheus to be ready", func() bool {
		found := listening.FindStringSubmatch(out.String())
		if found == nil {
			return false
		}
		p.url = "http://" + found[1]
		res, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		return res.Body.Close() == nil && res.StatusCode == http.StatusOK
	})
	return p
}

// get decodes the data of a response of the HTTP API.
func (p *prometheus) get(path string, data any) error {
	res, err := http.Get(p.url + path)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	response := struct {
		Error string
		Data  any
	}{Data: data}
	if err := json.NewDecoder(res.Body).Decode(&response); err != nil {
		return fmt.Errorf("%s: %s: %w", path, res.Status, err)
	}
	if response.Error != "" {
		return fmt.Errorf("%s: %s", path, response.Error)
	}
	return nil
}

// series is one result of a query, with its labels.
type series struct {
	Metric map[string]string
	Value  [2]any
}

// query returns the results of a query.
func (p *prometheus) query(t *testing.T, expr string) []series {
	t.Helper()
	var data struct{ Result []series }
	if err := p.get("/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
		t.Fatal(err)
	}
	return data.Result
}

// await waits until a query has a result.
func (p *prometheus) await(t *testing.T, expr string) {
	t.Helper()
	kit.Eventually(t, "a result of "+expr, func() bool { return len(p.query(t, expr)) > 0 }, func() string {
		var targets any
		return fmt.Sprint(p.get("/api/v1/targets", &targets), targets)
	})
}

// evaluated is a rule with its last evaluation.
type evaluated struct{ Name, Type, Health, LastError, LastEvaluation, State string }

// rules returns all rules.
func (p *prometheus) rules() (all []evaluated, err error) {
	var data struct{ Groups []struct{ Rules []evaluated } }
	err = p.get("/api/v1/rules", &data)
	for _, g := range data.Groups {
		all = append(all, g.Rules...)
	}
	return all, err
}

// firing returns the alerts that fire.
func (p *prometheus) firing(t *testing.T) (names []string) {
	t.Helper()
	all, err := p.rules()
	kit.Must(t, err)
	for _, r := range all {
		if r.State == "firing" {
			names = append(names, strings.TrimPrefix(r.Name, "Bondkeeper"))
		}
	}
	slices.Sort(names)
	return names
}
