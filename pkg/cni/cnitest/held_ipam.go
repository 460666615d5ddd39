package cnitest

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// HeldIPAM is the IPAM plugin host-local under the name "gated", which waits, fails and counts its calls, controlled by
// files in Dir.
type HeldIPAM struct {
	f   *Fixture
	Dir string
}

// NewHeldIPAM makes one that holds these verbs until Open.
func NewHeldIPAM(f *Fixture, held ...string) HeldIPAM {
	f.Helper()
	g := HeldIPAM{f, f.TempDir()}
	for _, verb := range held {
		g.Hold(verb)
	}
	kit.Program(f, filepath.Join(g.Dir, "gated"), fmt.Sprintf(`#!/bin/sh
dir=%s
if [ -e $dir/hold-$CNI_COMMAND ]; then
  touch $dir/entered
  while [ ! -e $dir/open ]; do sleep 0.01; done
fi
echo "$CNI_COMMAND" >> $dir/calls
[ ! -e $dir/broken-$CNI_COMMAND ] || { echo '{"code": 77, "msg": "out of order"}'; exit 1; }
exec %s
`, g.Dir, filepath.Join(f.PluginDir(), "host-local")))
	return g
}

// Hold makes calls of a verb wait, Pass ends that for new calls; waiting calls wait until Open.
func (g HeldIPAM) Hold(verb string) { g.touch("hold-" + verb) }
func (g HeldIPAM) Pass(verb string) { g.remove("hold-" + verb) }
func (g HeldIPAM) Open()            { g.touch("open") }

// Break makes calls of a verb fail with code 77, Repair ends that.
func (g HeldIPAM) Break(verb string)  { g.touch("broken-" + verb) }
func (g HeldIPAM) Repair(verb string) { g.remove("broken-" + verb) }

// AwaitCall waits until a call is held.
func (g HeldIPAM) AwaitCall() {
	g.f.Helper()
	g.f.Eventually("a call of IPAM", func() bool { _, err := os.Stat(filepath.Join(g.Dir, "entered")); return err == nil })
}

// Config is the OKD page's with this IPAM plugin.
func (g HeldIPAM) Config() []byte {
	return g.f.Config(map[string]any{"ipam": map[string]any{"type": "gated", "dataDir": g.f.Data, "subnet": "10.0.0.0/24"}})
}

// Args are those of c1 with this IPAM plugin.
func (g HeldIPAM) Args(pod string) *skel.CmdArgs {
	args := g.f.Args("c1", pod, g.Config())
	args.Path = g.Dir
	return args
}

func (g HeldIPAM) touch(name string) {
	g.f.Helper()
	kit.WriteFile(g.f, filepath.Join(g.Dir, name), "")
}

func (g HeldIPAM) remove(name string) {
	g.f.Helper()
	g.f.Must(os.Remove(filepath.Join(g.Dir, name)))
}

// AddDuringDEL starts a DEL, and an ADD while the DEL waits for IPAM. Both must succeed, the ADD last: its bond is
// ready.
func (g HeldIPAM) AddDuringDEL(args *skel.CmdArgs, before string) {
	g.f.Helper()
	g.Hold("DEL")
	deleted := g.f.Start("DEL", args)
	g.AwaitCall()
	g.Pass("DEL")
	added := g.f.Start("ADD", args)
	g.f.AwaitLock(added)
	g.Open()
	g.f.Must(<-deleted)
	g.f.Must(<-added)
	g.f.WantReady(args, before)
}
