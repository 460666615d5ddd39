package doctor

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/rest"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cli"
)

// Level is the severity of a finding.
type Level string

// The levels. Only Fail means that bonds are not made or not repaired correctly.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
	// Skip: it could not be checked, or does not apply to this node.
	Skip Level = "skip"
)

// Finding is the result of one check. Names and order of the checks do not change between versions.
type Finding struct {
	// Check is the check's name.
	Check string `json:"check"`
	Level Level  `json:"level"`
	// Found is the result, Remedy what to do about it, empty if nothing.
	Found  string `json:"found"`
	Remedy string `json:"do,omitempty"`
}

// Report has all findings of a node.
type Report struct {
	// Version is the agent's version, Node the node's name in the cluster, empty outside one.
	Version  string    `json:"version"`
	Node     string    `json:"node,omitempty"`
	Findings []Finding `json:"findings"`
	// Failed counts the findings of level Fail.
	Failed int `json:"lacking"`
}

// Config configures the checks. Paths are those of the agent's flags.
type Config struct {
	Version, Node                         string
	StateDir, CNIDir, SriovDir, SysctlNet string
	NetnsDirs                             []string
	ProcSelf, SysfsPCI                    string
	// Probe makes a bond in a netns of its own and returns the options that the kernel does not know.
	Probe func(context.Context) ([]bond.Option, error)
	// Sandboxes lists the container runtime's sandboxes; nil if no runtime is configured.
	Sandboxes func(context.Context) ([]string, error)
	// Agent returns a page of the running agent, or an error with its text if the page's status is not 200; nil if no
	// address is configured.
	Agent func(ctx context.Context, page string) (string, error)
	// API configures access to the API server; nil if none is configured.
	API *rest.Config
	// APIError is why the access to the API server cannot be configured.
	APIError error
}

// checkTimeout bounds one check: a check waits only for other programs.
const checkTimeout = 15 * time.Second

// check is one check of the node.
type check struct {
	name string
	run  func(context.Context, *Config) Finding
}

// checks has all checks, in the order of the report.
var checks = []check{
	{"kernel", kernelRelease},
	{"bonding", bonding},
	{"capabilities", capabilities},
	{"cards", cards},
	{"state-dir", stateDir},
	{"netns", netnsDirs},
	{"sysctl", sysctl},
	{"cni-dir", cniDir},
	{"plugin", plugin},
	{"ipam", ipam},
	{"sriov-cni", sriovCNI},
	{"runtime", runtimeSocket},
	{"api", apiServer},
	{"api-node", apiNode},
	{"api-rights", apiRights},
	{"api-policy", apiPolicy},
	{"agent", runningAgent},
}

// Examine runs all checks.
func Examine(ctx context.Context, c Config) Report {
	r := Report{Version: c.Version, Node: c.Node, Findings: []Finding{}}
	for _, k := range checks {
		one, cancel := context.WithTimeoutCause(ctx, checkTimeout, fmt.Errorf("no answer within %s", checkTimeout))
		f := k.run(one, &c)
		cancel()
		f.Check = k.name
		if f.Level == Fail {
			r.Failed++
		}
		r.Findings = append(r.Findings, f)
	}
	return r
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error { return cli.WriteJSON(w, r) }

// WriteText writes one line per finding.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range r.Findings {
		line := f.Found
		if f.Remedy != "" {
			line += " -> " + f.Remedy
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Level, f.Check, oneLine(line))
	}
	return t.Flush()
}

// oneLine replaces control characters: a file name must not look like another line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

func ok(format string, args ...any) Finding {
	return Finding{Level: OK, Found: fmt.Sprintf(format, args...)}
}

func skip(format string, args ...any) Finding {
	return Finding{Level: Skip, Found: fmt.Sprintf(format, args...)}
}

// finding returns a finding with a remedy.
func finding(l Level, remedy, format string, args ...any) Finding {
	return Finding{Level: l, Remedy: remedy, Found: fmt.Sprintf(format, args...)}
}
