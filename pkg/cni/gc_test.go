package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

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
	cnitest.WantError(t, gc(nil), types.ErrInvalidNetworkConfig, "cni.dev/valid-attachments")
	cnitest.WantError(t, gc("x"), types.ErrInvalidNetworkConfig, "cni.dev/valid-attachments")
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
	cnitest.WantError(t, status(ok), types.ErrPluginNotAvailable, "IPAM gated STATUS") // whatever its own code is
	cnitest.WantError(t, status(map[string]any{"cniVersion": "1.1.0", "ipam": map[string]any{"type": "missing"}}), types.ErrPluginNotAvailable, "ipam.type", "missing")
	for code, want := range map[uint]uint{types.ErrInvalidNetworkConfig: types.ErrPluginNotAvailable, types.ErrLimitedConnectivity: types.ErrLimitedConnectivity} {
		if e := unavailable(types.NewError(code, "x", "y")); e.Code != want || e.Details != "y" {
			t.Errorf("code %d became %+v, want %d", code, e, want)
		}
	}
	probe = errors.New("no bonding")
	cnitest.WantError(t, status(ok), types.ErrPluginNotAvailable, "no bonding")
	probe = nil
	n.must(os.WriteFile(filepath.Join(n.dir, "file"), nil, 0o600))
	cnitest.WantError(t, status(map[string]any{"cniVersion": "1.1.0", "stateDir": filepath.Join(n.dir, "file", "x")}), types.ErrPluginNotAvailable, "state directory")
}

// TestSkel runs the verbs as the runtime does, with skel's own checks.
func TestErrorsPrint(t *testing.T) {
	for _, err := range []error{
		bond.ErrLocked, bond.ErrBusy, context.DeadlineExceeded, bond.ErrUnsupported, &os.PathError{Op: "open", Path: "/x", Err: os.ErrPermission}, errors.New("x"),
		fmt.Errorf("wrapped: %w", types.NewError(types.ErrInvalidNetNS, "gone", "")),
	} {
		var e *types.Error
		if !errors.As(withCNICode(err), &e) {
			t.Fatalf("%v has no code", err)
		}
		text, mErr := json.Marshal(e)
		if mErr != nil || e.Code == 0 || e.Msg == "" {
			t.Errorf("%v prints as %s, %v", err, text, mErr)
		}
	}
	if withCNICode(nil) != nil {
		t.Error("no error has a code")
	}
}
