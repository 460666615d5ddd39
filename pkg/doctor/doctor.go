package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/rest"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Level says how bad a finding is.
type Level string

// The levels. Only Fail means that bonds are not made or not kept as they should be.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
	// Skip: it could not be looked at, or does not concern this node.
	Skip Level = "skip"
)

// Finding is what one check found. Its names and the order of the findings are kept from version to version.
type Finding struct {
	// Check is the check's name.
	Check string `json:"check"`
	Level Level  `json:"level"`
	// Found is what there is, Do what to do about it; Do is empty where there is nothing to do.
	Found string `json:"found"`
	Do    string `json:"do,omitempty"`
}

// Report is what is told of a node.
type Report struct {
	// Version is that of the agent, Node the node's name in the cluster, empty outside one.
	Version  string    `json:"version"`
	Node     string    `json:"node,omitempty"`
	Findings []Finding `json:"findings"`
	// Lacking counts the findings of level Fail.
	Lacking int `json:"lacking"`
}

// Config says what is looked at. Paths are those that the agent is run with.
type Config struct {
	Version, Node                         string
	StateDir, CNIDir, SriovDir, SysctlNet string
	NetnsDirs                             []string
	ProcSelf, SysfsPCI                    string
	// Probe makes a bond in a netns of its own and answers the options that the kernel does not know.
	Probe func(context.Context) ([]bond.Option, error)
	// Sandboxes asks the container runtime; nil where there is none to ask.
	Sandboxes func(context.Context) ([]string, error)
	// API is how to reach the API server; nil where the agent is to tell it nothing.
	API *rest.Config
}

// patience bounds one check: no check waits for anything but another program's answer.
const patience = 15 * time.Second

// check is one thing that is looked at.
type check struct {
	name string
	look func(context.Context, *Config) Finding
}

// checks are all of them, in the order in which they are told.
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
}

// Examine runs all checks.
func Examine(ctx context.Context, c Config) Report {
	r := Report{Version: c.Version, Node: c.Node, Findings: []Finding{}}
	for _, k := range checks {
		one, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %s", patience))
		f := k.look(one, &c)
		cancel()
		f.Check = k.name
		if f.Level == Fail {
			r.Lacking++
		}
		r.Findings = append(r.Findings, f)
	}
	return r
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteText writes a line a finding for people.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range r.Findings {
		line := f.Found
		if f.Do != "" {
			line += " -> " + f.Do
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Level, f.Check, oneLine(line))
	}
	return t.Flush()
}

// oneLine also keeps what a file's name can hold from being taken for a line of ours.
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

// lack is a finding with what to do.
func lack(l Level, do, format string, args ...any) Finding {
	return Finding{Level: l, Do: do, Found: fmt.Sprintf(format, args...)}
}
