package cni

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestDelReportsEverything: if the IPAM plugin and the kernel both fail, what DEL prints names the bond and both errors.
func TestDelReportsEverything(t *testing.T) {
	n := newNode(t, 1)
	dir := t.TempDir()
	kit.Program(t, filepath.Join(dir, "broken"), fmt.Sprintf("#!/bin/sh\n[ $CNI_COMMAND = DEL ] || exec %s\necho '{\"code\": 77, \"msg\": \"out of order\", \"details\": \"pool 7\"}'\nexit 1\n", filepath.Join(plugins, "host-local")))
	args, _ := n.OnePod(map[string]any{"ipam": map[string]any{"type": "broken", "dataDir": n.Data, "subnet": "10.0.0.0/24"}})
	args.Path = dir
	n.MustAdd(args)
	n.FailApplyIf(func(a plan.Action) error {
		if _, is := a.(plan.DeleteBond); is {
			return errors.New("cannot delete the bond")
		}
		return nil
	})
	env := map[string]string{"CNI_CONTAINERID": args.ContainerID, "CNI_IFNAME": args.IfName, "CNI_NETNS": args.Netns, "CNI_PATH": args.Path}
	printed := n.plugin.MainDel(func(name string) string { return env[name] }, strings.NewReader(string(args.StdinData)))
	if printed == nil || printed.Code != 77 {
		t.Fatalf("DEL printed %+v", printed)
	}
	for _, want := range []string{"cannot delete the bond", "demo/c1", "IPAM broken DEL: out of order", "pool 7"} {
		if !strings.Contains(printed.Error(), want) {
			t.Errorf("DEL printed %q, without %q", printed, want)
		}
	}
}

// TestCodedErrorStays: an error that is CNI's own is not changed.
func TestCodedErrorStays(t *testing.T) {
	err := types.NewError(types.ErrInvalidNetNS, "gone", "path")
	if got := withCNICode(err); !errors.Is(got, err) {
		t.Errorf("%v became %v", err, got)
	}
}
