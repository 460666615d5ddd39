package sysdump

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/display"
	"github.com/bondkeeper/bondkeeper/pkg/doctor"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// Config says what to collect. All fields are needed unless said otherwise.
type Config struct {
	// Version is the agent's; Node the node's name, for the directory in the archive.
	Version, Node string
	// StateDir has the records, SriovDir sriov-cni's files.
	StateDir, SriovDir string
	// LogDirs are patterns of directories with the agent's log files (filepath.Glob).
	LogDirs []string
	// Agent connects to the running agent; nil if it serves no probes and metrics.
	Agent http.RoundTripper
	// Inspect returns the node's bonds.
	Inspect func(ctx context.Context, onError func(error)) ([]reconcile.Outcome, error)
	Doctor  func(context.Context) (doctor.Report, error)
	Now     func() time.Time
}

// Write writes the archive, a tar file compressed with gzip. The error is that of writing, or of ctx. What cannot be
// read is listed in problems.txt in the archive.
func Write(ctx context.Context, w io.Writer, c Config) error {
	now := c.Now()
	a := newArchive(w, fileName("bondkeeper-sysdump-"+c.Node+"-"+now.UTC().Format("20060102T150405Z")), now)
	a.addVersions(c)
	if report, err := c.Doctor(ctx); err != nil {
		a.problem("doctor: %v", err)
	} else {
		a.addJSON("doctor.json", report)
	}
	a.addBonds(ctx, c, now)
	a.addTree("state", c.StateDir)
	a.addTree("sriov-cni", c.SriovDir)
	a.addNetns("host")
	a.addAgent(ctx, c.Agent)
	a.addLogs(c.LogDirs)
	a.addKernelLog()
	return errors.Join(a.close(), ctx.Err())
}

func (a *archive) addVersions(c Config) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "agent: %s\ntime: %s\nnode: %s\n", c.Version, a.now.UTC().Format(time.RFC3339), c.Node)
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		a.problem("uname: %v", err)
	}
	fmt.Fprintf(&text, "kernel: %s %s %s\n", unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:]), unix.ByteSliceToString(u.Machine[:]))
	a.add("versions.txt", text.Bytes())
}

// addBonds adds the state of each bond, and of its netns.
func (a *archive) addBonds(ctx context.Context, c Config, now time.Time) {
	all, err := c.Inspect(ctx, func(err error) { a.problem("%v", err) })
	if err != nil {
		a.problem("bonds: %v", err)
	}
	states := []bond.Status{}
	seen := map[bond.Sandbox]bool{}
	for i := range all {
		o := &all[i]
		states = append(states, o.Status)
		pod := "pods/" + fileName(o.Record.Pod.Namespace+"_"+o.Record.Pod.Name+"_"+o.Record.Key.ContainerID)
		a.addBond(pod+"/"+fileName(o.Record.Key.IfName), o, now)
		if !seen[o.Record.Sandbox] && o.Observed.SandboxAlive {
			seen[o.Record.Sandbox] = true
			a.addSandbox(pod+"/netns", o.Record.Sandbox)
		}
	}
	a.addJSON("status.json", states)
}

func (a *archive) addBond(name string, o *reconcile.Outcome, now time.Time) {
	e := display.Explain(o)
	var text bytes.Buffer
	if err := e.WriteText(&text, display.Style{Now: now}); err != nil {
		a.problem("%s: %v", name, err)
	}
	a.add(name+".txt", text.Bytes())
	a.addJSON(name+".explanation.json", e)
	a.addJSON(name+".observed.json", o.Observed)
}

func (a *archive) addSandbox(dir string, s bond.Sandbox) {
	ns, err := netns.OpenSandbox(s)
	if err == nil {
		err = errors.Join(ns.Do(func() error { a.addNetns(dir); return nil }), ns.Close())
	}
	if err != nil {
		a.problem("%s: %v", dir, err)
	}
}

// addTree adds the small files below a directory, JSON without secrets, and a list of all.
func (a *archive) addTree(name, dir string) {
	var files bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			a.problem("%v", err)
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // removed meanwhile
		}
		fmt.Fprintf(&files, "%s %10d %s %s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), path)
		if info.Mode().IsRegular() && info.Size() > 0 {
			a.addTreeFile(name+"/"+relative(dir, path), path)
		}
		return nil
	})
	if err != nil {
		a.problem("%v", err)
	}
	a.add(name+".list.txt", files.Bytes())
}

func (a *archive) addTreeFile(name, path string) {
	text, err := readEnd(path)
	if err != nil {
		a.problem("%v", err)
		return
	}
	if len(bytes.Trim(text, "\x00")) == 0 { // space that the store reserves
		return
	}
	if bytes.ContainsAny(text, `{["`) { // JSON, perhaps damaged
		a.addRedacted(name, text)
		return
	}
	const short = 4096 // claims and locks contain a path or a number
	if len(text) > short {
		a.problem("%s: left out, %d bytes that are not JSON", path, len(text))
		return
	}
	a.add(name, text)
}

func relative(dir, path string) string {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return filepath.Base(path)
	}
	return rel
}

// addAgent adds what the running agent serves.
func (a *archive) addAgent(ctx context.Context, agent http.RoundTripper) {
	if agent == nil {
		return
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: agent}
	for _, page := range []string{"healthz", "readyz", "listenz", "metrics"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/"+page, nil)
		if err != nil {
			a.problem("agent: %v", err)
			return
		}
		resp, err := client.Do(req)
		if err != nil {
			a.problem("agent: %v", err)
			continue
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxFile))
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			a.problem("agent: %s: %v", page, err)
		}
		a.add("agent/"+page+".txt", append([]byte(resp.Status+"\n"), text...))
	}
}

// addLogs adds the agent's log files, which the kubelet keeps on the node.
func (a *archive) addLogs(patterns []string) {
	found := false
	for _, p := range patterns {
		files, err := filepath.Glob(p)
		if err != nil {
			a.problem("log: %v", err)
		}
		for _, f := range files {
			found = true
			a.addFile("log/"+fileName(f), f)
		}
	}
	if !found {
		a.problem("log: no file matches %q; add the output of: kubectl logs -n bondkeeper AGENT_POD --all-containers", patterns)
	}
}

// addKernelLog adds the kernel's log, without removing anything from it.
func (a *archive) addKernelLog() {
	const readAll, sizeOfBuffer = 3, 10 // SYSLOG_ACTION_READ_ALL, _SIZE_BUFFER: syslog(2)
	size, err := unix.Klogctl(sizeOfBuffer, nil)
	if err == nil {
		text := make([]byte, min(size, maxFile))
		var n int
		if n, err = unix.Klogctl(readAll, text); err == nil {
			a.add("kernel.log", text[:n])
		}
	}
	if err != nil {
		a.problem("kernel log: %v", err)
	}
}

var unsafeInName = regexp.MustCompile(`[^A-Za-z0-9._@:-]`)

// fileName is a name without characters that have a meaning in paths or on terminals.
func fileName(s string) string { return unsafeInName.ReplaceAllString(s, "_") }
