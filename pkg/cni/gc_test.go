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
		pod := n.Pod(fmt.Sprintf("p%d", i), i)
		args := n.Args(fmt.Sprintf("c%d", i), pod, n.Config(map[string]any{"name": network, "cniVersion": "1.1.0"}))
		n.MustAdd(args)
		all = append(all, args)
	}
	gc := func(valid any) error {
		config := n.Config(map[string]any{"name": "one", "cniVersion": "1.1.0", "cni.dev/valid-attachments": valid})
		return n.plugin.Funcs().GC(&skel.CmdArgs{Path: plugins, StdinData: config})
	}
	cnitest.WantError(t, gc(nil), types.ErrInvalidNetworkConfig, "cni.dev/valid-attachments")
	cnitest.WantError(t, gc("x"), types.ErrInvalidNetworkConfig, "cni.dev/valid-attachments")
	n.wantKeys("c0", "c1", "c2")
	n.Must(gc([]any{map[string]string{"containerID": "c1", "ifname": "bond0"}}))
	n.wantKeys("c1", "c2")
	if l := n.Leases(); len(l) != 2 {
		t.Errorf("leases: %v", l)
	}
	if l := n.LinkAt(all[0].Netns, "net1"); l.Master != 0 {
		t.Errorf("net1 of the pod that was collected: %+v", l)
	}
	n.Must(gc([]any{}))
	n.wantKeys("c2")
}

func (n *node) wantKeys(ids ...string) {
	n.Helper()
	keys, err := n.Store.Keys()
	n.Must(err)
	got := ""
	for _, k := range keys {
		got += k.ContainerID + " "
	}
	want := ""
	for _, id := range ids {
		want += id + " "
	}
	if got != want {
		n.Fatalf("records %q, want %q", got, want)
	}
}

// TestStatusWithoutBonding: STATUS fails with code 50 if the kernel has no bonding, or the state directory cannot be
// used.
func TestStatusWithoutBonding(t *testing.T) {
	n := newNode(t, 1)
	probe := errors.New("no bonding")
	n.onOpen(func(b *Backend) { b.Probe = func(context.Context) error { return probe } })
	status := func(stateDir string) error {
		return n.plugin.Funcs().Status(&skel.CmdArgs{Path: plugins, StdinData: n.Config(map[string]any{"cniVersion": "1.1.0", "stateDir": stateDir})})
	}
	cnitest.WantError(t, status(n.Dir), types.ErrPluginNotAvailable, "no bonding")
	probe = nil
	n.Must(status(n.Dir), os.WriteFile(filepath.Join(n.Dir, "file"), nil, 0o600))
	cnitest.WantError(t, status(filepath.Join(n.Dir, "file", "x")), types.ErrPluginNotAvailable, "state directory")
	for code, want := range map[uint]uint{types.ErrInvalidNetworkConfig: types.ErrPluginNotAvailable, types.ErrLimitedConnectivity: types.ErrLimitedConnectivity} {
		if e := unavailable(types.NewError(code, "x", "y")); e.Code != want || e.Details != "y" {
			t.Errorf("code %d became %+v, want %d", code, e, want)
		}
	}
}

// TestErrorsPrint: each error has a code and prints as JSON.
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
