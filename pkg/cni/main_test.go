package cni

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/kit"
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

// node is a fixture on the fake kernel, with the methods that only the fake has.
type node struct {
	*linktest.Fake
	*cnitest.Fixture
	fake   *fakeNode
	plugin *Plugin
	stderr *kit.Output
}

// onOpen changes the backend of each call from now on.
func (n *node) onOpen(change func(*Backend)) {
	open := n.plugin.Open
	n.plugin.Open = func(dir string) (*Backend, error) {
		b, err := open(dir)
		if err == nil {
			change(b)
		}
		return b, err
	}
}

// newNode makes a node with two PFs, pf0 and pf1, with vfs VFs each.
func newNode(t *testing.T, vfs int) *node {
	t.Helper()
	f := cnitest.New(t, openFake(vfs))
	fake := f.Node.(*fakeNode)
	return &node{Fake: fake.Fake, Fixture: f, fake: fake, stderr: &fake.stderr, plugin: fake.newPlugin(&bytes.Buffer{})}
}

func (n *node) newPlugin(stdout io.Writer) *Plugin { return n.fake.newPlugin(stdout) }

// fakeNode is a cnitest.Node with the fake kernel, and the plugin in this process.
type fakeNode struct {
	*linktest.Fake
	f      *cnitest.Fixture
	stderr kit.Output

	mu   sync.Mutex
	pods map[string]bond.Sandbox
	// cached is sriov-cni's cache about links of c1, by name.
	cached map[string]bond.Member
	// searching receives a value when a search has not found all links and waits.
	searching chan struct{}
}

func openFake(vfs int) func(f *cnitest.Fixture) cnitest.Node {
	return func(f *cnitest.Fixture) cnitest.Node {
		n := &fakeNode{Fake: linktest.New(), f: f, pods: map[string]bond.Sandbox{}, searching: make(chan struct{}, 1)}
		for card := range 2 {
			name := n.PF(card)
			f.Must(n.AddPF(name, bond.PCIAddress(n.PFAddress(card))), n.SetNumVFs(name, vfs))
			for v := range vfs {
				// A VF reports its MAC to its PF when it is set up for the first time.
				vf := n.HostName(n.VF(card, v))
				f.Must(n.SetUp(linktest.Host, vf), n.SetDown(linktest.Host, vf))
			}
		}
		return n
	}
}

func (n *fakeNode) PF(card int) string                  { return fmt.Sprintf("pf%d", card) }
func (n *fakeNode) VF(card, number int) bond.PCIAddress { return n.VFs(n.PF(card))[number] }
func (n *fakeNode) PFAddress(card int) string           { return fmt.Sprintf("0000:%02x:00.0", card+1) }
func (n *fakeNode) LinkState() string                   { return n.String() }
func (n *fakeNode) Logged() string                      { return n.stderr.String() }
func (n *fakeNode) PluginDir() string                   { return plugins }

func (n *fakeNode) Slow() bool               { return false }
func (n *fakeNode) PFSettings() bool         { return true }
func (n *fakeNode) IPAM() reconcile.IPAM     { return &ipam.Client{} }
func (n *fakeNode) HostNetns() string        { return "/host" }
func (n *fakeNode) LinkKinds() []string      { return []string{"veth"} }
func (n *fakeNode) AwaitSearch(<-chan error) { <-n.searching }

func (n *fakeNode) AddPod(path string) bond.Sandbox {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pods[path] = n.Fake.AddPod(path)
	return n.pods[path]
}

func (n *fakeNode) DeletePod(path string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pods, path)
	return n.Fake.DeletePod(path)
}

func (n *fakeNode) AddBond(path, name string) error { return n.Fake.AddBond(path, name, nil) }

func (n *fakeNode) AddHostLink(name, _ string) {
	_, err := n.AddVirtual(linktest.Host, name)
	n.f.Must(err)
}

func (n *fakeNode) CacheVF(path, name string) {
	n.cached = map[string]bond.Member{name: n.foundLink(path, n.f.LinkAt(path, name), false).Member}
}

func (n *fakeNode) HostName(pci bond.PCIAddress) string {
	n.f.Helper()
	path, l, found := n.Netdev(pci)
	if !found || path != linktest.Host {
		n.f.Fatalf("no VF %s in the host:\n%s", pci, n.Fake)
	}
	return l.Name
}

// bond is the bond in the kernel.
func (n *fakeNode) bond(path, name string) *bond.ObservedBond {
	n.f.Helper()
	obs, err := n.Observe(n.f.Context(), &bond.Record{Key: bond.Key{IfName: name}, Sandbox: n.pods[path]})
	n.f.Must(err)
	if obs.Bond == nil {
		n.f.Fatalf("no bond %s in %s:\n%s", name, path, n.Fake)
	}
	return obs.Bond
}

func (n *fakeNode) Mode(path, name string) string { return n.bond(path, name).Options.Mode().String() }

func (n *fakeNode) MemberSettings(path, name string) (queueID, prio int) {
	r := n.f.Record("c1")
	obs, err := n.Observe(n.f.Context(), r)
	n.f.Must(err)
	for i := range r.Members {
		if m := obs.Members[i]; r.Members[i].Name == name {
			return int(*m.QueueID), int(*m.Prio)
		}
	}
	return -1, -1
}

func (n *fakeNode) Active(path, name string) string {
	active := n.bond(path, name).Active
	for _, member := range []string{"net1", "net2"} {
		if l, found := n.Link(path, member); found && l.Index == active {
			return member
		}
	}
	return ""
}

func (n *fakeNode) Addresses(path, name string) (all []string) {
	for _, a := range n.bond(path, name).Addresses {
		all = append(all, a.String())
	}
	slices.Sort(all)
	return all
}

func (n *fakeNode) Routes(path, name string) (all []string) {
	for _, r := range n.bond(path, name).Routes {
		if r.Proto != unix.RTPROT_KERNEL {
			all = append(all, cnitest.RouteText(r))
		}
	}
	slices.Sort(all)
	return all
}

// Call runs a verb as the real plugin would, with its own standard output.
func (n *fakeNode) Call(verb string, args *skel.CmdArgs) ([]byte, error) {
	stdout := &bytes.Buffer{}
	funcs := n.newPlugin(stdout).Funcs()
	err := map[string]func(*skel.CmdArgs) error{
		"ADD": funcs.Add, "CHECK": funcs.Check, "DEL": funcs.Del, "GC": funcs.GC, "STATUS": funcs.Status,
	}[verb](args)
	return stdout.Bytes(), err
}

func (n *fakeNode) CallProcess(verb string, args *skel.CmdArgs) ([]byte, error) {
	return n.Call(verb, args)
}

func (n *fakeNode) newPlugin(stdout io.Writer) *Plugin {
	return &Plugin{Stdout: stdout, Stderr: &n.stderr, Open: func(dir string) (*Backend, error) {
		if dir == store.DefaultDir {
			dir = n.f.Dir
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

func (n *fakeNode) sandbox(path string) (bond.Sandbox, error) {
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

// findMembers does the same as link.Kernel, on the fake.
func (n *fakeNode) findMembers(ctx context.Context, s bond.MemberQuery) (bond.MemberResult, error) {
	giveUp := time.After(s.Wait)
	searching := n.searching
	for {
		found := n.findNow(s)
		if len(found.Missing()) == 0 || s.Wait == 0 {
			return found, nil
		}
		select {
		case searching <- struct{}{}:
			searching = nil
		case <-ctx.Done():
			return found, ctx.Err()
		case <-giveUp:
			return found, nil
		case <-time.After(time.Millisecond): // the fake sends no events
		}
	}
}

func (n *fakeNode) findNow(s bond.MemberQuery) bond.MemberResult {
	path := s.Sandbox.Path
	if s.InHost {
		path = linktest.Host
	}
	var found bond.MemberResult
	for _, name := range s.Names {
		l, there := n.Link(path, name)
		if !there {
			found.Links = append(found.Links, n.missingLink(name))
			continue
		}
		found.Links = append(found.Links, n.foundLink(path, l, s.InHost))
	}
	return found
}

// missingLink is a link that is not in the pod. If sriov-cni's cache names it, it may be in the host.
func (n *fakeNode) missingLink(name string) bond.MemberLink {
	m, cached := n.cached[name]
	if !cached {
		m = bond.Member{Name: name, Unidentified: true}
	} else if path, _, found := n.Netdev(m.PCI); found && path == linktest.Host {
		return bond.MemberLink{Member: m, PF: n.pfOf(m.VF)}
	}
	return bond.MemberLink{Member: m, Missing: fmt.Errorf("no link %s: %w", &m, bond.ErrGone)}
}

func (n *fakeNode) foundLink(path string, l bond.Link, inHost bool) bond.MemberLink {
	f := bond.MemberLink{Member: bond.Member{
		Name: l.Name, PCI: l.PCI, MAC: l.MAC, Original: bond.Original{Name: l.Name, MAC: l.MAC, MTU: l.MTU, Up: l.Up, FromHost: inHost},
	}}
	if vf, is := n.Fake.VF(l.PCI); is {
		f.Member.VF, f.PF = &vf, n.pfOf(&vf)
	} else {
		f.Member.Index, f.Member.PermMAC, f.Member.Kind = l.Index, l.PermMAC, l.Kind
		if f.Member.Serial = n.Serial(path, l.Name); inHost {
			f.Member.HostIndex, f.Member.Index = l.Index, 1<<24+l.Index
		}
	}
	return f
}

// TestScenarios runs the scenarios that also run on real VFs (cmd/cni).
func TestScenarios(t *testing.T) { cnitest.RunScenarios(t, openFake(2)) }

// files are all files and directories in the state directory.
func (n *node) files() []string {
	n.Helper()
	var all []string
	n.Must(filepath.WalkDir(n.Dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	}))
	return all
}

func (n *fakeNode) pfOf(vf *bond.VF) *bond.ObservedPF {
	for card := range 2 {
		name := n.PF(card)
		if l, found := n.Link(linktest.Host, name); found && l.PCI == vf.PF {
			return &bond.ObservedPF{Name: name, Index: l.Index, MTU: l.MTU, Up: l.Up, Carrier: l.Carrier, VF: vf.Settings}
		}
	}
	return nil
}
