package sysdump

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/doctor"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// dump is an archive of a node, unpacked.
func dump(t *testing.T, change func(*Config)) map[string]string {
	t.Helper()
	c := Config{
		Version: "v1", Node: "../node", StateDir: t.TempDir(), SriovDir: t.TempDir(), Now: time.Now,
		Inspect: func(context.Context, func(error)) ([]reconcile.Outcome, error) { return nil, nil },
		Doctor:  func(context.Context) (doctor.Report, error) { return doctor.Report{}, nil },
	}
	change(&c)
	var b bytes.Buffer
	kit.Must(t, Write(t.Context(), &b, c))
	z, err := gzip.NewReader(&b)
	kit.Must(t, err)
	files := map[string]string{}
	for entries := tar.NewReader(z); ; {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		kit.Must(t, err)
		dir, name, _ := strings.Cut(h.Name, "/")
		if !strings.HasPrefix(dir, "bondkeeper-sysdump-.._node-") || filepath.Clean(name) != name {
			t.Fatalf("the archive has a file %q", h.Name)
		}
		text, err := io.ReadAll(entries)
		kit.Must(t, err)
		files[name] = string(text)
	}
}

// TestSecrets: values of fields that may be secrets, at any depth, are not in the archive; nor is a file that cannot be
// checked for them.
func TestSecrets(t *testing.T) {
	files := dump(t, func(c *Config) {
		kit.WriteFile(t, filepath.Join(c.StateDir, "c1@bond0.json"), `{"cni":{"config":{"ipam":[{"apiToken":"s1","Password":{"x":"s2"},"client_secret":["s3"]}],"name":"kept"}}}`)
		kit.WriteFile(t, filepath.Join(c.StateDir, "c2@bond0.json"), `{"password":"s4"`)
		kit.WriteFile(t, filepath.Join(c.StateDir, "c4@bond0.json"), `{"pwd":"s1","dbPass":"s2","passphrase":"s3","bearer":"s4","accessKey":"s5","psk":"s6",
			"endpoints":["https://admin:s7s7@etcd:2379/a@b","https://s7s7@host","http://host/?a=b@c","c1@bond0"],"bypassed":false}`)
		kit.WriteFile(t, filepath.Join(c.SriovDir, "claim2"), "a log line: Get \"http://u:s7s7@host/x\": refused\n")
		kit.WriteFile(t, filepath.Join(c.StateDir, "c3@bond0.json.bad-1"), "\x00"+`"password":"s6"}`) // damaged, and set aside
		kit.WriteFile(t, filepath.Join(c.SriovDir, "claim"), "/run/netns/pod\n")
		kit.WriteFile(t, filepath.Join(c.SriovDir, "binary"), strings.Repeat("s5", 10000))
	})
	for name, text := range files {
		for _, s := range []string{"s1", "s2", "s3", "s4", "s5", "s6", "s7"} {
			if strings.Contains(text, `"`+s) || strings.Contains(text, s+s) {
				t.Errorf("%s has the secret %s:\n%s", name, s, text)
			}
		}
	}
	if text := files["state/c1@bond0.json"]; strings.Count(text, redacted) != 3 || !strings.Contains(text, `"kept"`) {
		t.Errorf("record:\n%s", text)
	}
	for _, want := range []string{"https://REDACTED@etcd:2379/a@b", "https://REDACTED@host", "http://host/?a=b@c", `"c1@bond0"`, `"bypassed": false`} {
		if !strings.Contains(files["state/c4@bond0.json"], want) {
			t.Errorf("no %s in\n%s", want, files["state/c4@bond0.json"])
		}
	}
	if files["sriov-cni/claim"] != "/run/netns/pod\n" {
		t.Errorf("claim: %q", files["sriov-cni/claim"])
	}
	for _, want := range []string{"c2@bond0.json: left out, 16 bytes that are not JSON", "binary: left out, 20000 bytes"} {
		if !strings.Contains(files["problems.txt"], want) {
			t.Errorf("no problem %q in\n%s", want, files["problems.txt"])
		}
	}
	for _, want := range []string{"c1@bond0.json", "c2@bond0.json"} {
		if !strings.Contains(files["state.list.txt"], want) {
			t.Errorf("no %s in the list\n%s", want, files["state.list.txt"])
		}
	}
}

// TestProblems: what fails ends nothing, and is listed.
func TestProblems(t *testing.T) {
	files := dump(t, func(c *Config) {
		c.StateDir, c.Agent, c.LogDirs = "/nonexistent", agent.Transport("127.0.0.1:1"), []string{"/nonexistent/*"}
		c.Inspect = func(_ context.Context, onError func(error)) ([]reconcile.Outcome, error) {
			onError(errors.New("a damaged record"))
			return nil, errors.New("no records")
		}
		c.Doctor = func(context.Context) (doctor.Report, error) { return doctor.Report{}, errors.New("no kubeconfig") }
	})
	for _, want := range []string{"a damaged record", "bonds: no records", "doctor: no kubeconfig", "lstat /nonexistent", "127.0.0.1:1", "kubectl logs"} {
		if !strings.Contains(files["problems.txt"], want) {
			t.Errorf("no problem %q in\n%s", want, files["problems.txt"])
		}
	}
	for _, want := range []string{"versions.txt", "host/links.json", "host/routes.json"} {
		if files[want] == "" {
			t.Errorf("no %s", want)
		}
	}
}

func sandboxAt(t *testing.T, path string) bond.Sandbox {
	t.Helper()
	id, err := netns.Identify(path)
	kit.Must(t, err)
	return bond.Sandbox{Path: path, Dev: id.Dev, Inode: id.Inode}
}

// TestBonds: a bond's files have names without the characters of a hostile pod's name, and its netns is included once.
func TestBonds(t *testing.T) {
	path := netnstest.New(t)
	_, err := kit.IP(path, "link", "add", "odd0", "type", "veth", "peer", "odd1")
	kit.Must(t, err)
	outcome := func(ifName string) reconcile.Outcome {
		return reconcile.Outcome{
			Record:   &bond.Record{Key: bond.Key{ContainerID: "c1", IfName: ifName}, Pod: bond.Pod{Namespace: "a", Name: "../../x\x1b"}, Sandbox: sandboxAt(t, path)},
			Observed: bond.Observed{SandboxAlive: true}, Plan: plan.Plan{Verdict: plan.Converged},
		}
	}
	files := dump(t, func(c *Config) {
		c.Inspect = func(context.Context, func(error)) ([]reconcile.Outcome, error) {
			return []reconcile.Outcome{outcome("bond0"), outcome("bond1")}, nil
		}
	})
	const pod = "pods/a_.._.._x__c1/"
	for _, want := range []string{"bond0.txt", "bond0.observed.json", "bond1.explanation.json", "netns/links.json"} {
		if files[pod+want] == "" {
			t.Errorf("no %s%s in %d files", pod, want, len(files))
		}
	}
	if text := files[pod+"netns/links.json"]; !strings.Contains(text, `"odd0"`) || !strings.Contains(text, `"Kind": "veth"`) {
		t.Errorf("links of the pod:\n%s", text)
	}
	if strings.Contains(files["host/links.json"], `"odd0"`) {
		t.Error("links of the pod are listed as the host's")
	}
}

// TestRoutesAreBounded: of a pod's many routes, the first are listed.
func TestRoutesAreBounded(t *testing.T) {
	path := netnstest.New(t)
	var lines strings.Builder
	lines.WriteString("link set lo up\n")
	for i := range maxRoutes + 10 {
		lines.WriteString("route add 10." + strings.Join([]string{strconv.Itoa(i / 250), strconv.Itoa(i % 250), "1"}, ".") + "/32 dev lo\n")
	}
	kit.Must(t, kit.Links{}.Batch(path, lines.String()))
	var b bytes.Buffer
	a := newArchive(&b, "d", time.Now())
	a.addSandbox("pod", sandboxAt(t, path))
	kit.Must(t, a.close())
	if !strings.Contains(strings.Join(a.problems, "\n"), "only the first 2048 routes") {
		t.Errorf("problems: %q", a.problems)
	}
}

// TestAddressesAndRulesAreBounded: a pod's many addresses and rules are not listed, and its links are.
func TestAddressesAndRulesAreBounded(t *testing.T) {
	path := netnstest.New(t)
	var lines strings.Builder
	for i := range maxListed + 10 {
		fmt.Fprintf(&lines, "address add 10.1.%d.%d/32 dev lo\nrule add pref %d table 100\n", i/250, i%250, i+1)
	}
	kit.Must(t, kit.Links{}.Batch(path, lines.String()))
	var b bytes.Buffer
	a := newArchive(&b, "d", time.Now())
	a.addSandbox("pod", sandboxAt(t, path))
	kit.Must(t, a.close())
	problems := strings.Join(a.problems, "\n")
	for what, want := range map[string]bool{"addresses": true, "rules": true, "links": false} {
		if strings.Contains(problems, "pod: "+what+" are not listed") != want {
			t.Errorf("%s not listed: want %v; problems: %q", what, want, a.problems)
		}
	}
}

// TestLongFile: of a file that is too long, the end is kept.
func TestLongFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	kit.Must(t, os.WriteFile(path, append(bytes.Repeat([]byte("a"), maxFile), "the end"...), 0o600))
	files := dump(t, func(c *Config) { c.LogDirs = []string{path} })
	text := files["log/"+fileName(path)]
	if len(text) != maxFile || !strings.HasSuffix(text, "the end") {
		t.Errorf("%d bytes, end %q", len(text), text[max(0, len(text)-10):])
	}
}

func TestPlain(t *testing.T) {
	mac, err := net.ParseMAC("02:00:00:00:00:01")
	kit.Must(t, err)
	_, dst, err := net.ParseCIDR("10.0.0.0/8")
	kit.Must(t, err)
	for _, c := range []struct {
		in   any
		want any
	}{
		{netlink.LinkAttrs{Name: "x", HardwareAddr: mac}, map[string]any{"Name": "x", "HardwareAddr": "02:00:00:00:00:01"}},
		{netlink.Route{Dst: dst, LinkIndex: 3}, map[string]any{"Dst": "10.0.0.0/8", "LinkIndex": 3}},
		{netlink.Bond{Mode: netlink.BOND_MODE_ACTIVE_BACKUP}, map[string]any{"Mode": "active-backup"}},
		{struct {
			F func()
			c chan int
		}{func() {}, make(chan int)}, map[string]any{}},
		{nil, nil},
	} {
		if got := plain(reflect.ValueOf(c.in)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.in, got, c.want)
		}
	}
}
