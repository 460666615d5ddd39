package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/leak"
)

// plugins is the directory of the real IPAM plugins.
var plugins string

func TestMain(m *testing.M) {
	var err error
	if plugins, err = cnitest.Dir(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(leak.Main(m))
}

// node is a node with the fake kernel, the real store and real IPAM plugins.
type node struct {
	*linktest.Fake
	t      *testing.T
	plugin *Plugin
	dir    string // state directory
	data   string // host-local's
	store  *store.Store
	stderr *syncBuffer

	mu   sync.Mutex
	pods map[string]bond.Sandbox
	// noted is what sriov-cni noted of links of c1, by name.
	noted map[string]bond.Member
	// waiting is done when a search for links has not found all and waits.
	waiting sync.WaitGroup
	waits   sync.Once
}

// newNode makes a node with two PFs, pf0 and pf1, with vfs VFs each.
func newNode(t *testing.T, vfs int) *node {
	t.Helper()
	n := &node{Fake: linktest.New(), t: t, dir: filepath.Join(t.TempDir(), "state"), data: t.TempDir(), stderr: &syncBuffer{}, pods: map[string]bond.Sandbox{}}
	for i, name := range []string{"pf0", "pf1"} {
		n.must(n.AddPF(name, bond.PCIAddress(fmt.Sprintf("0000:%02x:00.0", i+1))))
		n.must(n.SetNumVFs(name, vfs))
		for v := range vfs {
			// A VF tells its PF its MAC when it is set up for the first time.
			n.must(errors.Join(n.SetUp(linktest.Host, n.hostVF(i, v)), n.SetDown(linktest.Host, n.hostVF(i, v))))
		}
	}
	var err error
	if n.store, err = store.Open(n.dir); err != nil {
		t.Fatal(err)
	}
	n.plugin = n.newPlugin(&bytes.Buffer{})
	n.waiting.Add(1)
	return n
}

func (n *node) newPlugin(stdout *bytes.Buffer) *Plugin {
	return &Plugin{Stdout: stdout, Stderr: n.stderr, Open: func(dir string) (*Backend, error) {
		if dir == store.DefaultDir {
			dir = n.dir
		}
		s, err := store.Open(dir)
		if err != nil {
			return nil, err
		}
		return &Backend{
			Kernel: n.Fake, Store: s, FindMembers: n.findMembers,
			Sandbox: n.sandbox,
			HostSandbox: func() (bond.Sandbox, error) {
				return bond.Sandbox{Path: linktest.Host, Dev: 1, Inode: 1}, nil
			},
			Probe: func(context.Context) error { return nil },
		}, nil
	}}
}

func (n *node) sandbox(path string) (bond.Sandbox, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if path == "/host" {
		return bond.Sandbox{Path: path, Dev: 1, Inode: 1}, nil
	}
	if s, found := n.pods[path]; found {
		return s, nil
	}
	return bond.Sandbox{}, fmt.Errorf("no netns at %s: %w", path, bond.ErrGone)
}

// engine is the agent's, on the same kernel and store.
func (n *node) engine() *reconcile.Engine {
	return reconcile.New(reconcile.Config{Kernel: n.Fake, Store: n.store, IPAM: &ipam.Client{}})
}

// findMembers is what link.Kernel does, on the fake.
func (n *node) findMembers(ctx context.Context, s bond.MemberQuery) (bond.MemberResult, error) {
	giveUp := time.After(s.Wait)
	for {
		found := n.findNow(s)
		if len(found.Missing()) == 0 || s.Wait == 0 {
			return found, nil
		}
		n.waits.Do(n.waiting.Done)
		select {
		case <-ctx.Done():
			return found, ctx.Err()
		case <-giveUp:
			return found, nil
		case <-time.After(time.Millisecond): // the fake sends no events
		}
	}
}

func (n *node) findNow(s bond.MemberQuery) bond.MemberResult {
	path := s.Sandbox.Path
	if s.InHost {
		path = linktest.Host
	}
	var found bond.MemberResult
	for _, name := range s.Names {
		l, there := n.Link(path, name)
		if !there {
			m, noted := n.noted[name]
			if !noted {
				m = bond.Member{Name: name, Unidentified: true}
			}
			found.Links = append(found.Links, bond.MemberLink{Member: m, Missing: fmt.Errorf("no link %s: %w", name, bond.ErrGone)})
			continue
		}
		found.Links = append(found.Links, n.foundLink(path, l, s.InHost))
	}
	return found
}

func (n *node) foundLink(path string, l bond.Link, inHost bool) bond.MemberLink {
	f := bond.MemberLink{Member: bond.Member{
		Name: l.Name, PCI: l.PCI, MAC: l.MAC, Original: bond.Original{Name: l.Name, MAC: l.MAC, MTU: l.MTU, Up: l.Up, FromHost: inHost},
	}}
	if vf, is := n.VF(l.PCI); is {
		f.Member.VF, f.PF = &vf, n.pfOf(&vf)
	} else {
		f.Member.Index, f.Member.PermMAC, f.Member.Kind = l.Index, l.PermMAC, l.Kind
		if f.Member.Serial = n.Serial(path, l.Name); inHost {
			f.Member.HostIndex, f.Member.Index = l.Index, 1<<24+l.Index
		}
	}
	return f
}

// note lets sriov-cni have put a link into the pod.
func (n *node) note(name, pod string) {
	n.t.Helper()
	n.noted = map[string]bond.Member{name: n.foundLink(pod, n.link(pod, name), false).Member}
}

func (n *node) pfOf(vf *bond.VF) *bond.ObservedPF {
	for _, name := range []string{"pf0", "pf1"} {
		if l, found := n.Link(linktest.Host, name); found && l.PCI == vf.PF {
			return &bond.ObservedPF{Name: name, Index: l.Index, MTU: l.MTU, Up: l.Up, Carrier: l.Carrier, VF: vf.Settings}
		}
	}
	return nil
}

// pod makes a pod with the i-th VF of each PF in it as net1 and net2.
func (n *node) pod(name string, i int) string {
	n.t.Helper()
	path := "/run/netns/" + name
	n.mu.Lock()
	n.pods[path] = n.AddPod(path)
	n.mu.Unlock()
	for p, as := range []string{"net1", "net2"} {
		n.must(n.MoveToNetns(linktest.Host, n.hostVF(p, i), path, as))
	}
	return path
}

// hostVF is the name in the host of the i-th VF of PF p. The fake names VFs ethN as they come.
func (n *node) hostVF(p, i int) string {
	n.t.Helper()
	pci := n.VFs(fmt.Sprintf("pf%d", p))[i]
	for i := range 1024 {
		name := fmt.Sprintf("eth%d", i)
		if l, found := n.Link(linktest.Host, name); found && l.PCI == pci {
			return name
		}
	}
	n.t.Fatalf("no VF %s in the host:\n%s", pci, n.Fake)
	return ""
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// config is the OKD page's, with state and leases in this test's directories, and with
// the fields of changes, in which nil removes a field.
func (n *node) config(changes map[string]any) []byte {
	n.t.Helper()
	var c map[string]any
	n.must(json.Unmarshal(okdConfig(n.t), &c))
	c["stateDir"] = n.dir
	c["ipam"].(map[string]any)["dataDir"] = n.data
	for k, v := range changes {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	out, err := json.Marshal(c)
	n.must(err)
	return out
}

func (n *node) args(id, netns string, config []byte) *skel.CmdArgs {
	return &skel.CmdArgs{ContainerID: id, Netns: netns, IfName: "bond0", Path: plugins, StdinData: config,
		Args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=" + id + ";K8S_POD_UID=uid-" + id}
}

// add runs ADD as the real plugin would, with its own standard output.
func (n *node) add(args *skel.CmdArgs) (*current.Result, error) {
	stdout := &bytes.Buffer{}
	if err := n.newPlugin(stdout).Funcs().Add(args); err != nil {
		if stdout.Len() > 0 {
			n.t.Errorf("ADD failed and printed a result: %s", stdout)
		}
		return nil, err
	}
	result, err := createResult("", stdout.Bytes())
	if err != nil {
		n.t.Fatalf("result %s: %v", stdout, err)
	}
	out, err := current.NewResultFromResult(result)
	n.must(err)
	return out, nil
}

func (n *node) mustAdd(args *skel.CmdArgs) *current.Result {
	n.t.Helper()
	result, err := n.add(args)
	if err != nil {
		n.t.Fatalf("ADD: %v\n%s\n%s", err, n.Fake, n.stderr)
	}
	return result
}

func (n *node) del(args *skel.CmdArgs) error { return n.plugin.Funcs().Del(args) }

func (n *node) mustDel(args *skel.CmdArgs) {
	n.t.Helper()
	if err := n.del(args); err != nil {
		n.t.Fatalf("DEL: %v\n%s\n%s", err, n.Fake, n.stderr)
	}
}

func (n *node) record(id string) *bond.Record {
	n.t.Helper()
	r, err := n.store.Load(bond.Key{ContainerID: id, IfName: "bond0"})
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

// completeSetup ends the set-up of a container's bond, as an agent does.
func (n *node) completeSetup(id string) {
	n.t.Helper()
	r := n.record(id)
	r.Setup.Complete = time.Now()
	n.must(n.store.Save(r))
}

// leases are the addresses that host-local holds as given away.
func (n *node) leases() []string {
	n.t.Helper()
	var out []string
	n.must(filepath.WalkDir(n.data, func(path string, d os.DirEntry, err error) error {
		if name := d.Name(); err == nil && !d.IsDir() && strings.Count(name, ".") == 3 && !strings.HasPrefix(name, "last") {
			out = append(out, name)
		}
		return err
	}))
	return out
}

// nothingLeft wants the world as it was: no record, no lease, no link changed.
func (n *node) nothingLeft(before string) {
	n.t.Helper()
	keys, err := n.store.Keys()
	n.must(err)
	if len(keys) > 0 {
		n.t.Errorf("records left: %v", keys)
	}
	if l := n.leases(); len(l) > 0 {
		n.t.Errorf("leases left: %v", l)
	}
	if after := n.String(); after != before {
		n.t.Errorf("links are not as before\nbefore:\n%s\nafter:\n%s\nchanges: %s", before, after, strings.Join(n.ChangeLog(), "\n"))
	}
}

// link wants a link to be there.
// endsReady checks that the record and the only lease are those of an ADD that has succeeded, and takes its bond down.
func (n *node) endsReady(args *skel.CmdArgs, before string) {
	n.t.Helper()
	if r := n.record(args.ContainerID); r.Phase != bond.PhaseReady || len(n.leases()) != 1 {
		n.t.Errorf("record is %s, leases %v; want the new ADD's", r.Phase, n.leases())
	}
	n.mustDel(args)
	n.nothingLeft(before)
}

func (n *node) link(path, name string) bond.Link {
	n.t.Helper()
	l, found := n.Link(path, name)
	if !found {
		n.t.Fatalf("no link %s in %s:\n%s", name, path, n.Fake)
	}
	return l
}

// inParallel calls f with 0 to count-1 at once and collects the errors.
func inParallel(count int, f func(i int) error) error {
	errs := make([]error, count)
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// syncBuffer is a buffer that several plugins write to.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// waitFor waits for something that another goroutine brings about.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
