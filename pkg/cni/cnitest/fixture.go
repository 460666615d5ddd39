package cnitest

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// Fixture is a node for one test.
type Fixture struct {
	*testing.T
	Node
	Dir   string // state directory
	Data  string // host-local's directory
	Store *store.Store

	open    func(f *Fixture) Node
	process bool
}

// New makes a fixture whose node is made by open.
func New(t *testing.T, open func(f *Fixture) Node) *Fixture {
	t.Helper()
	f := &Fixture{T: t, Dir: filepath.Join(t.TempDir(), "state"), Data: t.TempDir(), open: open}
	var err error
	f.Store, err = store.Open(f.Dir)
	kit.Must(t, err)
	f.Node = open(f)
	return f
}

// Each runs a subtest with its own fixture.
func (f *Fixture) Each(name string, run func(f *Fixture)) {
	f.Helper()
	f.T.Run(name, func(t *testing.T) {
		own := New(t, f.open)
		own.process = f.process
		run(own)
	})
}

// Skips reports whether a table's row is left out on a slow node, where only the given rows run.
func (f *Fixture) Skips(row string, run ...string) bool {
	return f.Slow() && !slices.Contains(run, row)
}

// needPFSettings excludes a scenario if the PFs have no settings for VFs.
func (f *Fixture) needPFSettings() {
	f.Helper()
	if !f.PFSettings() {
		f.Skip("excluded: the PFs have no settings for VFs")
	}
}

// Run runs a subtest on this node.
func (f *Fixture) Run(name string, run func(f *Fixture)) {
	f.Helper()
	f.T.Run(name, func(t *testing.T) {
		sub := *f
		sub.T = t
		run(&sub)
	})
}

// Must ends the test if there is an error.
func (f *Fixture) Must(errs ...error) {
	f.Helper()
	kit.Must(f, errs...)
}

// Eventually waits for a condition.
func (f *Fixture) Eventually(what string, ok func() bool) {
	f.Helper()
	kit.Eventually(f, what, ok, f.LinkState, f.Logged)
}

// Unbind unbinds a VF from its driver.
func (f *Fixture) Unbind(pci bond.PCIAddress) {
	f.Helper()
	f.Must(f.UnbindVF(pci))
}

// EmptyPod makes a pod without links.
func (f *Fixture) EmptyPod(name string) string {
	f.Helper()
	path := "/run/netns/" + name
	f.AddPod(path)
	return path
}

// Pod makes a pod with the VF of this number of each card as net1 and net2.
func (f *Fixture) Pod(name string, number int) string {
	f.Helper()
	path := f.EmptyPod(name)
	for card, as := range []string{"net1", "net2"} {
		f.Must(f.MoveToNetns(linktest.Host, f.HostName(f.VF(card, number)), path, as))
	}
	return path
}

// OKD is the network config of the OKD page on pod-level bonding, without the numbers of its call-outs.
func OKD(t testing.TB) []byte {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	data, err := os.ReadFile(filepath.Join(filepath.Dir(file), "..", "testdata", "okd.json"))
	kit.Must(t, err)
	return data
}

// Config is the OKD page's config, with state and leases in this test's directories, and with the fields of changes;
// nil removes a field.
func (f *Fixture) Config(changes map[string]any) []byte {
	f.Helper()
	var c map[string]any
	f.Must(json.Unmarshal(OKD(f), &c))
	c["stateDir"] = f.Dir
	c["ipam"].(map[string]any)["dataDir"] = f.Data
	for k, v := range changes {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	out, err := json.Marshal(c)
	f.Must(err)
	return out
}

// Links is a config's list of links.
func Links(names ...string) []any {
	var all []any
	for _, name := range names {
		all = append(all, map[string]any{"name": name})
	}
	return all
}

// Args are the arguments with which a runtime calls the plugin.
func (f *Fixture) Args(id, netns string, config []byte) *skel.CmdArgs {
	return &skel.CmdArgs{ContainerID: id, Netns: netns, IfName: "bond0", Path: f.PluginDir(), StdinData: config,
		Args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=" + id + ";K8S_POD_UID=uid-" + id}
}

// OnePod makes a pod with two VFs. It returns what a runtime calls the plugin with for it, with the fields of changes
// in the config, and the links as they are then.
func (f *Fixture) OnePod(changes map[string]any) (args *skel.CmdArgs, before string) {
	f.Helper()
	pod := f.Pod("p1", 0)
	return f.Args("c1", pod, f.Config(changes)), f.LinkState()
}

// Call calls a verb of the plugin and returns what it prints on standard output.
func (f *Fixture) Call(verb string, args *skel.CmdArgs) ([]byte, error) {
	if f.process {
		return f.CallProcess(verb, args)
	}
	return f.Node.Call(verb, args)
}

// Add calls ADD and returns its result in the newest version.
func (f *Fixture) Add(args *skel.CmdArgs) (*current.Result, error) {
	out, err := f.Call("ADD", args)
	if err != nil {
		if len(out) > 0 {
			f.Errorf("ADD failed and printed a result: %s", out)
		}
		return nil, err
	}
	result, err := create.CreateFromBytes(out)
	if err != nil {
		return nil, err
	}
	return current.NewResultFromResult(result)
}

// MustAdd is an ADD that must succeed.
func (f *Fixture) MustAdd(args *skel.CmdArgs) *current.Result {
	f.Helper()
	result, err := f.Add(args)
	if err != nil {
		f.Fatalf("ADD: %v\n%s\n%s", err, f.LinkState(), f.Logged())
	}
	return result
}

// Del calls DEL.
func (f *Fixture) Del(args *skel.CmdArgs) error {
	_, err := f.Call("DEL", args)
	return err
}

// MustDel is a DEL that must succeed.
func (f *Fixture) MustDel(args *skel.CmdArgs) {
	f.Helper()
	if err := f.Del(args); err != nil {
		f.Fatalf("DEL: %v\n%s\n%s", err, f.LinkState(), f.Logged())
	}
}

// Start calls a verb in its own process and does not wait for it.
func (f *Fixture) Start(verb string, args *skel.CmdArgs) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := f.CallProcess(verb, args)
		done <- err
	}()
	return done
}

// Check calls CHECK with the result of ADD.
func (f *Fixture) Check(args *skel.CmdArgs, prev any) error {
	f.Helper()
	with := *args
	with.StdinData = f.WithPrev(args.StdinData, prev)
	_, err := f.Call("CHECK", &with)
	return err
}

// MustCheck is a CHECK that must succeed. On real cards the second member may get its carrier first; the bond then has
// its MAC until the agent makes the first one active.
func (f *Fixture) MustCheck(args *skel.CmdArgs, prev any) {
	f.Helper()
	if f.Slow() {
		f.Eventually("CHECK succeeds", func() bool {
			err := f.Check(args, prev)
			if err != nil {
				f.Logf("CHECK: %v", err)
				_, _ = f.Engine().Converge(f.Context(), bond.Key{ContainerID: args.ContainerID, IfName: args.IfName})
			}
			return err == nil
		})
		return
	}
	if err := f.Check(args, prev); err != nil {
		f.Errorf("CHECK: %v", err)
	}
}

// WithPrev is a config as the runtime passes it to CHECK and DEL.
func (f *Fixture) WithPrev(config []byte, prev any) []byte {
	f.Helper()
	var c map[string]any
	f.Must(json.Unmarshal(config, &c))
	text, err := json.Marshal(prev)
	f.Must(err)
	c["prevResult"] = json.RawMessage(text)
	c["cniVersion"] = "1.1.0"
	out, err := json.Marshal(c)
	f.Must(err)
	return out
}

// Engine is the agent's, on the same kernel and store.
func (f *Fixture) Engine() *reconcile.Engine {
	return reconcile.New(reconcile.Config{Kernel: f.Node, Store: f.Store, IPAM: f.IPAM()})
}

// Converge reconciles a container's bond as the agent does.
func (f *Fixture) Converge(id string) reconcile.Outcome {
	f.Helper()
	out, err := f.Engine().Converge(f.Context(), bond.Key{ContainerID: id, IfName: "bond0"})
	f.Must(err)
	return out
}

// Record is the record of a container's bond.
func (f *Fixture) Record(id string) *bond.Record {
	f.Helper()
	r, err := f.Store.Load(bond.Key{ContainerID: id, IfName: "bond0"})
	f.Must(err)
	return r
}

// CompleteSetup ends the set-up of a container's bond, as an agent does.
func (f *Fixture) CompleteSetup(id string) {
	f.Helper()
	r := f.Record(id)
	r.Setup.Complete = time.Now()
	f.Must(f.Store.Save(r))
}

// Leases are the addresses that host-local has allocated.
func (f *Fixture) Leases() []string {
	f.Helper()
	var out []string
	f.Must(filepath.WalkDir(f.Data, func(path string, d os.DirEntry, err error) error {
		if name := d.Name(); err == nil && !d.IsDir() && name != "lock" && !strings.HasPrefix(name, "last") {
			out = append(out, name)
		}
		return err
	}))
	return out
}

// WantNothingLeft checks that there is no record and no lease, and that the links are as before.
func (f *Fixture) WantNothingLeft(before string) {
	f.Helper()
	keys, err := f.Store.Keys()
	f.Must(err)
	if len(keys) > 0 {
		f.Errorf("records left: %v", keys)
	}
	if l := f.Leases(); len(l) > 0 {
		f.Errorf("leases left: %v", l)
	}
	f.WantLinks(before)
}

// WantLinks checks that the links are as before.
func (f *Fixture) WantLinks(before string) {
	f.Helper()
	if after := f.LinkState(); after != before {
		f.Errorf("links are not as before\nbefore:\n%s\nafter:\n%s\nlog: %s", before, after, f.Logged())
	}
}

// LinkAt is a link that must exist.
func (f *Fixture) LinkAt(path, name string) bond.Link {
	f.Helper()
	l, found := f.Link(path, name)
	if !found {
		f.Fatalf("no link %s in %s:\n%s", name, path, f.LinkState())
	}
	return l
}

// InBond reports whether a link is a member of bond0.
func (f *Fixture) InBond(path, name string) bool {
	l, found := f.Link(path, name)
	b, made := f.Link(path, "bond0")
	return found && made && l.Master == b.Index
}

// AwaitLock waits until a call waits for a lock of the store, or one has ended.
func (f *Fixture) AwaitLock(ended <-chan error) {
	f.Helper()
	f.Eventually("a call to wait for a lock", func() bool {
		locks, err := filepath.Glob(filepath.Join(f.Dir, "locks", "*.lock"))
		f.Must(err)
		return len(ended) > 0 || slices.ContainsFunc(locks, awaited)
	})
}

// awaited reports whether a process waits for a lock of the store: it is first in line (pkg/store).
func awaited(path string) bool {
	l, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer func() { _ = l.Close() }()
	inLine := unix.Flock_t{Type: unix.F_WRLCK}
	return unix.FcntlFlock(l.Fd(), unix.F_OFD_GETLK, &inLine) == nil && inLine.Type != unix.F_UNLCK
}

// InParallel calls each with 0 to count-1 at once and returns the errors.
func InParallel(count int, each func(i int) error) error {
	errs := make([]error, count)
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() { errs[i] = each(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
