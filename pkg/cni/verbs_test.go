package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/plan"
)

// gate is an IPAM plugin that is host-local, after ADD was let through.
type gate struct{ dir string }

// newGate puts the plugin "gated" beside links to the real ones.
func newGate(t *testing.T) gate {
	t.Helper()
	g := gate{t.TempDir()}
	script := fmt.Sprintf(`#!/bin/sh
dir=%s
if [ "$CNI_COMMAND" = ADD ]; then
  touch $dir/entered
  while [ ! -e $dir/open ]; do sleep 0.01; done
fi
echo "$CNI_COMMAND" >> $dir/calls
[ ! -e $dir/broken-$CNI_COMMAND ] || { echo '{"code": 77, "msg": "out of order"}'; exit 1; }
exec %s
`, g.dir, filepath.Join(plugins, "host-local"))
	if err := os.WriteFile(filepath.Join(g.dir, "gated"), []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return g
}

func (g gate) touch(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (g gate) entered() bool { _, err := os.Stat(filepath.Join(g.dir, "entered")); return err == nil }

func (g gate) args(n *node, pod string) *skel.CmdArgs {
	args := n.args("c1", pod, n.config(map[string]any{"ipam": map[string]any{"type": "gated", "dataDir": n.data, "subnet": "10.0.0.0/24"}}))
	args.Path = g.dir
	return args
}

// TestDelDuringAdd: DEL wins, and the address that IPAM gave after it is given back.
func TestDelDuringAdd(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	args := g.args(n, pod)
	added := make(chan error)
	go func() {
		_, err := n.add(args)
		added <- err
	}()
	waitFor(t, "IPAM", g.entered)
	n.mustDel(args)
	g.touch(t, "open")
	wantError(t, <-added, types.ErrTryAgainLater, "overtaken")
	n.nothingLeft(before)
}

// TestTombstoneStands: an ADD that comes out of IPAM does not bring a tombstone back to life.
func TestTombstoneStands(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	args := g.args(n, pod)
	added := make(chan error)
	go func() {
		_, err := n.add(args)
		added <- err
	}()
	waitFor(t, "IPAM", g.entered)
	g.touch(t, "broken-DEL")
	wantError(t, n.del(args), 77, "out of order")
	g.touch(t, "open")
	wantError(t, <-added, types.ErrTryAgainLater, "overtaken")
	if r := n.record("c1"); !r.Deleted() {
		t.Errorf("record is %s", r.Phase)
	}
	n.must(os.Remove(filepath.Join(g.dir, "broken-DEL")))
	n.mustDel(args)
	n.nothingLeft(before)
}

// TestAddOutOfTime: an ADD whose time is up still gives everything back.
func TestAddOutOfTime(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	ctx, cancel := context.WithCancel(t.Context())
	added := make(chan error)
	go func() { added <- n.plugin.Add(ctx, g.args(n, pod)) }()
	waitFor(t, "IPAM", g.entered)
	cancel()
	if err := <-added; err == nil {
		t.Error("ADD succeeded")
	}
	n.nothingLeft(before)
}

// TestAddDuringAdd: of two ADDs of one bond the second waits, and then finds the first's bond.
func TestAddDuringAdd(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	args := g.args(n, pod)
	added := make(chan error)
	go func() {
		_, err := n.add(args)
		added <- err
	}()
	waitFor(t, "IPAM", g.entered)
	impatient, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	wantError(t, coded(n.plugin.Add(impatient, args)), types.ErrTryAgainLater, "c1")
	again := make(chan error)
	go func() {
		_, err := n.add(args)
		again <- err
	}()
	g.touch(t, "open")
	n.must(<-added)
	wantError(t, <-again, types.ErrInvalidEnvironmentVariables, "DEL")
	if r := n.record("c1"); r.Phase != bond.PhaseReady {
		t.Errorf("record is %s", r.Phase)
	}
	n.mustDel(args)
	n.nothingLeft(before)
}

// TestDelRacesAdd: whichever comes first, after both nothing is left.
func TestDelRacesAdd(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	args := n.args("c1", pod, n.config(nil))
	for i := range 12 {
		deleted := make(chan error, 1)
		count := 0
		n.BeforeApply(func(plan.Action) {
			if count++; count == i {
				go func() { deleted <- n.del(args) }()
			}
		})
		_, err := n.add(args)
		n.BeforeApply(nil)
		if err != nil {
			wantError(t, err, types.ErrTryAgainLater, "overtaken")
		}
		if i > 0 && count >= i {
			n.must(<-deleted)
		} else {
			n.mustDel(args)
		}
		n.nothingLeft(before)
	}
}

func TestIPAMErrors(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	args := g.args(n, pod)
	g.touch(t, "open")
	g.touch(t, "broken-ADD")
	_, err := n.add(args)
	wantError(t, err, 77, "IPAM gated ADD", "out of order")
	n.nothingLeft(before)
	n.must(os.Remove(filepath.Join(g.dir, "broken-ADD")))

	n.mustAdd(args)
	g.touch(t, "broken-DEL")
	wantError(t, n.del(args), 77, "IPAM gated DEL", "out of order")
	if n.String() != before {
		t.Errorf("the members must be given back though IPAM fails:\n%s", n.Fake)
	}
	if !n.record("c1").Deleted() {
		t.Error("the record must stay until IPAM is done")
	}
	n.must(os.Remove(filepath.Join(g.dir, "broken-DEL")))
	n.mustDel(args)
	n.nothingLeft(before)
}

// TestDelOfNothing: DEL is right at any time, and asks IPAM at any time.
func TestDelOfNothing(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	args := g.args(n, "/run/netns/none")
	n.mustDel(args)
	args.Netns = ""
	n.mustDel(args)
	calls, err := os.ReadFile(filepath.Join(g.dir, "calls"))
	if err != nil || string(calls) != "DEL\nDEL\n" {
		t.Errorf("IPAM was called: %q, %v", calls, err)
	}
	args.StdinData = []byte(`{"name":"n","type":"bond","mode":"bonkers","links":7,"stateDir":"` + n.dir + `"}`)
	n.mustDel(args)
	args.StdinData = []byte(`{`)
	wantError(t, n.del(args), types.ErrDecodingFailure, "network config")
}

// TestDelAfterWorldEnds: DEL succeeds whatever of the bond is missing.
func TestDelAfterWorldEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(n *node, pod string) error
	}{
		{"netns deleted", func(n *node, pod string) error { return n.DeletePod(pod) }},
		{"netns replaced", func(n *node, pod string) error { n.AddPod(pod); return nil }},
		{"bond deleted", func(n *node, pod string) error { return n.DeleteBond(pod, "bond0") }},
		{"bond renamed", func(n *node, pod string) error { return n.Rename(pod, "bond0", "other") }},
		{"member released", func(n *node, pod string) error { return n.Release(pod, "net1") }},
		{"member lost", func(n *node, _ string) error { return n.UnbindVF(n.VFs("pf0")[0]) }},
		{"member in the host", func(n *node, pod string) error { return n.MoveToHost(pod, "net2") }},
		{"addresses gone", func(n *node, pod string) error { return n.FlushAddresses(pod, "bond0") }},
		{"record gone", func(n *node, _ string) error { return n.store.Remove(bond.Key{ContainerID: "c1", IfName: "bond0"}) }},
		{"record damaged", func(n *node, _ string) error {
			return os.WriteFile(filepath.Join(n.dir, "c1@bond0.json"), []byte("{"), 0o600)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, 1)
			pod := n.pod("p1", 0)
			args := n.args("c1", pod, n.config(nil))
			n.mustAdd(args)
			n.must(tt.end(n, pod))
			n.mustDel(args)
			if l := n.leases(); len(l) > 0 {
				t.Errorf("leases left: %v", l)
			}
			n.mustDel(args)
			if l, found := n.Link(pod, "net2"); found && tt.name == "member in the host" && (l.Master != 0 || l.Name != "net2") {
				t.Errorf("net2 is not as its own plugin expects it: %+v", l)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		world func(n *node, pod string) error
		args  func(n *node, args *skel.CmdArgs)
		code  uint // 0: CHECK passes
		says  []string
	}{
		{name: "untouched"},
		{name: "member without carrier", world: func(n *node, _ string) error { return n.SetPFCarrier("pf0", false) }},
		{name: "pod added an address", world: func(n *node, pod string) error {
			return n.AddAddress(pod, "bond0", netip.MustParsePrefix("192.0.2.9/24"))
		}},
		{name: "bond deleted", world: func(n *node, pod string) error { return n.DeleteBond(pod, "bond0") }, code: 999, says: []string{"bond0", "demo/c1"}},
		{name: "member released", world: func(n *node, pod string) error { return n.Release(pod, "net1") }, code: 999, says: []string{"net1"}},
		{name: "member lost", world: func(n *node, _ string) error { return n.UnbindVF(n.VFs("pf0")[0]) }, code: 999, says: []string{"net1", "0000:01:10.0"}},
		{name: "bond down", world: func(n *node, pod string) error { return n.SetDown(pod, "bond0") }, code: 999, says: []string{"down"}},
		{name: "addresses gone", world: func(n *node, pod string) error { return n.FlushAddresses(pod, "bond0") }, code: 999, says: []string{"10.56.217.2/24"}},
		{name: "MTU changed", world: func(n *node, pod string) error { return n.SetMTU(pod, "bond0", 1280) }, code: 999, says: []string{"1280", "1500"}},
		{name: "lease gone", world: func(n *node, _ string) error { return os.RemoveAll(filepath.Join(n.data, "bond-net1")) }, code: 999, says: []string{"IPAM host-local CHECK"}},
		{name: "other netns", args: func(n *node, args *skel.CmdArgs) { args.Netns = n.pod("p2", 1) }, code: types.ErrInvalidNetNS, says: []string{"CNI_NETNS", "p1", "p2"}},
		{name: "never added", args: func(_ *node, args *skel.CmdArgs) { args.ContainerID = "c9" }, code: types.ErrUnknownContainer, says: []string{"c9@bond0"}},
		{name: "prevResult has another address", args: func(n *node, args *skel.CmdArgs) {
			n.editPrev(args, func(r *current.Result) { r.IPs[0].Address.IP = net.IPv4(10, 56, 217, 99) })
		}, code: 999, says: []string{"10.56.217.99/24", "10.56.217.2/24"}},
		{name: "prevResult has another MAC", args: func(n *node, args *skel.CmdArgs) {
			n.editPrev(args, func(r *current.Result) { r.Interfaces[0].Mac = "02:00:00:00:00:77" })
		}, code: 999, says: []string{"02:00:00:00:00:77"}},
		{name: "prevResult has no bond", args: func(n *node, args *skel.CmdArgs) {
			n.editPrev(args, func(r *current.Result) { r.Interfaces[0].Name = "eth0" })
		}, code: types.ErrInvalidNetworkConfig, says: []string{"prevResult.interfaces", "bond0"}},
		{name: "no prevResult", args: func(n *node, args *skel.CmdArgs) { args.StdinData = n.config(nil) }, code: types.ErrInvalidNetworkConfig, says: []string{"prevResult"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, 2)
			pod := n.pod("p1", 0)
			args := n.args("c1", pod, n.config(nil))
			args.StdinData = n.withPrev(args.StdinData, n.mustAdd(args))
			if tt.world != nil {
				n.must(tt.world(n, pod))
			}
			if tt.args != nil {
				tt.args(n, args)
			}
			changes := n.Changes()
			err := n.plugin.Funcs().Check(args)
			if tt.code == 0 {
				n.must(err)
			} else {
				wantError(t, err, tt.code, tt.says...)
			}
			if n.Changes() != changes {
				t.Errorf("CHECK changed something: %v", n.ChangeLog()[changes:])
			}
		})
	}
}

// TestCheckAfterFailover: the bond has the other member's MAC now, as it must.
func TestCheckAfterFailover(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	args := n.args("c1", pod, n.config(nil))
	result := n.mustAdd(args)
	n.must(n.SetPFCarrier("pf0", false))
	if mac := n.link(pod, "bond0").MAC; string(mac) == result.Interfaces[0].Mac {
		t.Fatalf("no failover: %s", n.Fake)
	}
	args.StdinData = n.withPrev(args.StdinData, result)
	n.must(n.plugin.Funcs().Check(args))
}

func (n *node) editPrev(args *skel.CmdArgs, edit func(*current.Result)) {
	n.t.Helper()
	c, err := ParseConfig(args.StdinData, Args{})
	n.must(err)
	edit(c.Prev)
	args.StdinData = n.withPrev(args.StdinData, c.Prev)
}

func TestGC(t *testing.T) {
	n := newNode(t, 4)
	var all []*skel.CmdArgs
	for i, network := range []string{"one", "one", "two"} {
		pod := n.pod(fmt.Sprintf("p%d", i), i)
		args := n.args(fmt.Sprintf("c%d", i), pod, n.config(map[string]any{"name": network, "cniVersion": "1.1.0"}))
		n.mustAdd(args)
		all = append(all, args)
	}
	gc := func(valid any) error {
		config := n.config(map[string]any{"name": "one", "cniVersion": "1.1.0", "cni.dev/valid-attachments": valid})
		return n.plugin.Funcs().GC(&skel.CmdArgs{Path: plugins, StdinData: config})
	}
	wantError(t, gc(nil), types.ErrInvalidNetworkConfig, "cni.dev/valid-attachments")
	wantError(t, gc("x"), types.ErrInvalidNetworkConfig, "cni.dev/valid-attachments")
	n.wantKeys("c0", "c1", "c2")
	n.must(gc([]any{map[string]string{"containerID": "c1", "ifname": "bond0"}}))
	n.wantKeys("c1", "c2")
	if l := n.leases(); len(l) != 2 {
		t.Errorf("leases: %v", l)
	}
	if l := n.link(all[0].Netns, "net1"); l.Master != 0 {
		t.Errorf("net1 of the pod that was collected: %+v", l)
	}
	n.must(gc([]any{}))
	n.wantKeys("c2")
}

func (n *node) wantKeys(ids ...string) {
	n.t.Helper()
	keys, err := n.store.Keys()
	n.must(err)
	got := ""
	for _, k := range keys {
		got += k.ContainerID + " "
	}
	want := ""
	for _, id := range ids {
		want += id + " "
	}
	if got != want {
		n.t.Fatalf("records %q, want %q", got, want)
	}
}

func TestStatus(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	var probe error
	open := n.plugin.Open
	n.plugin.Open = func(dir string) (*Backend, error) {
		b, err := open(dir)
		if err == nil {
			b.Probe = func(context.Context) error { return probe }
		}
		return b, err
	}
	status := func(changes map[string]any) error {
		return n.plugin.Funcs().Status(&skel.CmdArgs{Path: g.dir, StdinData: n.config(changes)})
	}
	ok := map[string]any{"cniVersion": "1.1.0", "ipam": map[string]any{"type": "gated", "dataDir": n.data, "subnet": "10.0.0.0/24"}}
	n.must(status(ok))
	g.touch(t, "broken-STATUS")
	wantError(t, status(ok), 77, "IPAM gated STATUS")
	probe = errors.New("no bonding")
	wantError(t, status(ok), types.ErrPluginNotAvailable, "no bonding")
	probe = nil
	n.must(os.WriteFile(filepath.Join(n.dir, "file"), nil, 0o600))
	wantError(t, status(map[string]any{"cniVersion": "1.1.0", "stateDir": filepath.Join(n.dir, "file", "x")}), types.ErrPluginNotAvailable, "state directory")
}

// TestSkel runs the verbs as the runtime does, with skel's own checks.
func TestErrorsPrint(t *testing.T) {
	for _, err := range []error{
		bond.ErrLocked, bond.ErrBusy, context.DeadlineExceeded, bond.ErrUnsupported, &os.PathError{Op: "open", Path: "/x", Err: os.ErrPermission}, errors.New("x"),
		fmt.Errorf("wrapped: %w", types.NewError(types.ErrInvalidNetNS, "gone", "")),
	} {
		var e *types.Error
		if !errors.As(coded(err), &e) {
			t.Fatalf("%v has no code", err)
		}
		text, mErr := json.Marshal(e)
		if mErr != nil || e.Code == 0 || e.Msg == "" {
			t.Errorf("%v prints as %s, %v", err, text, mErr)
		}
	}
	if coded(nil) != nil {
		t.Error("no error has a code")
	}
}
