package cni

import (
	"errors"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

// TestOldKernel: on a kernel that is too old ADD fails before it changes anything, STATUS fails, and DEL works, also
// for a bond from before.
func TestOldKernel(t *testing.T) {
	n := newNode(t, 2)
	other := n.Args("c2", n.Pod("p2", 1), n.Config(map[string]any{"cniVersion": "1.1.0"}))
	args, before := n.OnePod(map[string]any{"cniVersion": "1.1.0"})
	n.MustAdd(args)
	added := n.String()
	n.onOpen(func(b *Backend) { b.KernelRelease = "5.10.0-32-amd64" })
	if err := n.plugin.Add(t.Context(), other); !errors.Is(err, bond.ErrUnsupported) || !strings.Contains(err.Error(), "use Linux 5.14 or newer") {
		t.Errorf("ADD: %v, want %v and what to do", err, bond.ErrUnsupported)
	}
	n.WantLinks(added)
	cnitest.WantError(t, n.plugin.Funcs().Status(&skel.CmdArgs{Path: plugins, StdinData: args.StdinData}), types.ErrPluginNotAvailable, "kernel 5.10.0-32-amd64")
	n.Must(n.plugin.Funcs().Del(args))
	n.WantNothingLeft(before)
}
