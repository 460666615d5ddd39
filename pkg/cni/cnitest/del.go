package cnitest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

var delScenarios = []scenario{
	{"DEL of a damaged bond", delOfDamage, false},
	{"DEL without IPAM", delWithoutIPAM, true},
}

// delOfDamage: DEL succeeds, whatever part of the bond is missing.
func delOfDamage(f *Fixture) {
	for _, tt := range []struct {
		name   string
		damage func(f *Fixture, pod string) error
	}{
		{"netns deleted", func(f *Fixture, pod string) error { return f.DeletePod(pod) }},
		{"netns replaced", func(f *Fixture, pod string) error { f.AddPod(pod); return nil }},
		{"bond deleted", func(f *Fixture, pod string) error { return f.DeleteBond(pod, "bond0") }},
		{"bond renamed", func(f *Fixture, pod string) error { return f.Rename(pod, "bond0", "other") }},
		{"member released", func(f *Fixture, pod string) error { return f.Release(pod, "net1") }},
		{"member lost", func(f *Fixture, _ string) error { return f.UnbindVF(f.VF(0, 0)) }},
		{"member lost and back in the host", func(f *Fixture, _ string) error {
			return errors.Join(f.UnbindVF(f.VF(1, 0)), f.BindVF(f.VF(1, 0)))
		}},
		{"member in the host", func(f *Fixture, pod string) error { return f.MoveToHost(pod, "net2") }},
		{"names swapped", func(f *Fixture, pod string) error {
			return errors.Join(f.Rename(pod, "net1", "other"), f.Rename(pod, "net2", "net1"), f.Rename(pod, "other", "net2"))
		}},
		{"addresses gone", func(f *Fixture, pod string) error { return f.FlushAddresses(pod, "bond0") }},
		{"record gone", func(f *Fixture, _ string) error {
			return f.Store.Remove(bond.Key{ContainerID: "c1", IfName: "bond0"})
		}},
		{"record damaged", func(f *Fixture, _ string) error {
			return os.WriteFile(filepath.Join(f.Dir, "c1@bond0.json"), []byte("{"), 0o600)
		}},
	} {
		if f.Skips(tt.name, "netns deleted", "bond deleted", "member lost and back in the host", "member in the host", "names swapped") {
			continue
		}
		f.Each(tt.name, func(f *Fixture) {
			pod := f.Pod("p1", 0)
			net2 := f.LinkAt(pod, "net2")
			args := f.Args("c1", pod, f.Config(nil))
			f.MustAdd(args)
			f.Must(tt.damage(f, pod))
			f.MustDel(args)
			if l := f.Leases(); len(l) > 0 {
				f.Errorf("leases left: %v", l)
			}
			f.MustDel(args)
			if !slices.Contains([]string{"member in the host", "member lost and back in the host", "names swapped"}, tt.name) {
				return
			}
			// Its own plugin expects it in the pod, unchanged.
			if l := f.LinkAt(pod, "net2"); l.Master != 0 || l.MAC != net2.MAC {
				f.Errorf("net2 is %+v, was %+v", l, net2)
			}
		})
	}
}

// delWithoutIPAM: with an IPAM that always fails, the first DEL takes the bond down and the third succeeds. The address
// is released when the IPAM works again: by the agent, or by the next ADD of the same bond, before it gets one.
func delWithoutIPAM(f *Fixture) {
	for _, tt := range []struct {
		name string
		// harm makes the IPAM fail, and returns a function that repairs it.
		harm func(f *Fixture, path string) (repair func() error)
	}{
		{"binary removed", func(f *Fixture, path string) func() error {
			binary := filepath.Join(path, "host-local")
			f.Must(os.Rename(binary, binary+".away"))
			return func() error { return os.Rename(binary+".away", binary) }
		}},
		// If it can open its directory but not write to it, host-local v1.9.1 reports success and releases nothing.
		{"data directory unusable", func(f *Fixture, _ string) func() error {
			f.Must(os.Rename(f.Data, f.Data+".away"))
			kit.WriteFile(f, f.Data, "")
			return func() error { return errors.Join(os.Remove(f.Data), os.Rename(f.Data+".away", f.Data)) }
		}},
		{"DHCP daemon gone", func(f *Fixture, path string) func() error {
			r := f.Record("c1")
			config := r.CNI.Config
			r.CNI.Config = f.Config(map[string]any{"ipam": map[string]any{"type": "dhcp", "daemonSocketPath": filepath.Join(f.TempDir(), "gone.sock")}})
			f.Must(f.Store.Save(r), os.Symlink(filepath.Join(f.PluginDir(), "dhcp"), filepath.Join(path, "dhcp")))
			return func() error { r := f.Record("c1"); r.CNI.Config = config; return f.Store.Save(r) }
		}},
	} {
		if f.Skips(tt.name, "binary removed") {
			continue
		}
		f.Each(tt.name, func(f *Fixture) {
			args, before := f.OnePod(nil)
			args.Path = f.TempDir()
			f.Must(os.Symlink(filepath.Join(f.PluginDir(), "host-local"), filepath.Join(args.Path, "host-local")))
			f.MustAdd(args)
			repair := tt.harm(f, args.Path)
			for attempt := 1; attempt <= 5; attempt++ {
				if err := f.Del(args); (err != nil) != (attempt < 3) {
					f.Fatalf("DEL %d: %v", attempt, err)
				}
				f.WantLinks(before)
				if r := f.Record("c1"); !r.Deleted() || r.CNI.IPAMAttempts != min(attempt, 3) || r.CNI.IPAMError == "" {
					f.Fatalf("DEL %d left the record %s with %+v", attempt, r.Phase, r.CNI)
				}
			}
			if err := f.Engine().ReleaseRecord(f.Context(), f.Record("c1")); err == nil {
				f.Fatal("the agent's release succeeds without IPAM")
			}
			f.Must(repair())
			if tt.name == "binary removed" {
				f.MustAdd(args)
				f.WantReady(args, before)
				return
			}
			f.Must(f.Engine().ReleaseRecord(f.Context(), f.Record("c1")))
			f.WantNothingLeft(before)
		})
	}
}
