package cni

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

// TestPluginsMoved: an upgrade has moved the directory of the plugins since ADD, as those of some distributions do with
// every version. The verbs find the IPAM plugin where their own CNI_PATH says, and if it is not there, where ADD's did.
func TestPluginsMoved(t *testing.T) {
	for verb, call := range map[string]func(n *node, args *skel.CmdArgs) error{
		"DEL": func(n *node, args *skel.CmdArgs) error { return n.Del(args) },
		"GC": func(n *node, args *skel.CmdArgs) error {
			gc := *args
			gc.StdinData = n.Config(map[string]any{"cniVersion": "1.1.0", "cni.dev/valid-attachments": []any{}})
			_, err := n.Call("GC", &gc)
			return err
		},
	} {
		t.Run(verb, func(t *testing.T) {
			n := newNode(t, 1)
			before, after := filepath.Join(t.TempDir(), "before"), filepath.Join(t.TempDir(), "after")
			n.Must(os.Symlink(plugins, before))
			args, links := n.OnePod(nil)
			args.Path = before
			result := n.MustAdd(args)
			n.Must(os.Rename(before, after))
			cnitest.WantError(t, n.Check(args, result), types.ErrInvalidNetworkConfig, "host-local")
			args.Path = after
			n.MustCheck(args, result)
			n.Must(call(n, args))
			n.WantNothingLeft(links)
		})
	}
	t.Run("not there", func(t *testing.T) {
		n := newNode(t, 1)
		args, links := n.OnePod(nil)
		n.MustAdd(args)
		args.Path = t.TempDir()
		n.MustDel(args)
		n.WantNothingLeft(links)
	})
}

// TestAgentAfterPluginsMoved: a DEL that found the moved IPAM plugin fails. The agent, which has no CNI_PATH of its own,
// finds the plugin too.
func TestAgentAfterPluginsMoved(t *testing.T) {
	n := newNode(t, 1)
	ipam := cnitest.NewHeldIPAM(n.Fixture)
	before := filepath.Join(t.TempDir(), "before")
	n.Must(os.Symlink(ipam.Dir, before))
	pod := n.Pod("p1", 0)
	links := n.String()
	args := ipam.Args(pod)
	args.Path = before
	n.MustAdd(args)
	n.Must(os.Remove(before))
	ipam.Break("DEL")
	args.Path = ipam.Dir
	if err := n.Del(args); err == nil {
		t.Fatal("DEL succeeded")
	}
	ipam.Repair("DEL")
	n.Must(n.Engine().ReleaseRecord(t.Context(), n.Record("c1")))
	n.WantNothingLeft(links)
}
