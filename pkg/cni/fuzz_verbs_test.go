package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/bond/bondtest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/store"

	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// fuzzPlugin is a plugin with its own state directory, whatever a config names, on a kernel without links.
func fuzzPlugin(f *testing.F) (*Plugin, *store.Store) {
	s, err := store.Open(f.TempDir())
	kit.Must(f, err)
	kernel := linktest.New()
	return &Plugin{Stdout: io.Discard, Stderr: io.Discard, Open: func(string) (*Backend, error) {
		return &Backend{Kernel: kernel, Store: s, Probe: func(context.Context) error { return nil }}, nil
	}}, s
}

// isObject is nil if encoding/json reads stdin as an object.
func isObject(stdin []byte) error {
	var object map[string]json.RawMessage
	return json.Unmarshal(stdin, &object)
}

// FuzzDel: for any environment and config, a DEL of a bond without a record succeeds and writes no record. The
// exceptions are a config that is not a JSON object, and a missing required variable.
func FuzzDel(f *testing.F) {
	f.Add(cnitest.OKD(f), "c1", "bond0", "K8S_POD_NAME=p", "/run/netns/p")
	f.Add(with(`"ipam":7,"stateDir":"relative"`), "../c1", "bond/0", "nonsense", "")
	f.Add([]byte(`{"name":null}`), "c1", "bond0", "", "\x00")
	f.Add([]byte(`{`), "c1", "bond0", "", "")
	f.Add([]byte(`null`), strings.Repeat("c", 300), "sixteen-bytes-xx", "", "")
	p, s := fuzzPlugin(f)
	noPlugins := f.TempDir()
	f.Fuzz(func(t *testing.T, stdin []byte, id, ifName, args, netns string) {
		env := map[string]string{
			"CNI_CONTAINERID": id, "CNI_IFNAME": ifName, "CNI_ARGS": args, "CNI_NETNS": netns, "CNI_PATH": noPlugins,
		}
		err := p.MainDel(func(name string) string { return env[name] }, bytes.NewReader(stdin))
		if err != nil {
			bondtest.ErrorText(t, err)
		}
		if bad := id == "" || ifName == "" || isObject(stdin) != nil; bad != (err != nil) {
			t.Fatalf("the call is bad: %t, and DEL returned %v", bad, err)
		}
		if keys, err := s.Keys(); err != nil || len(keys) > 0 {
			t.Fatalf("DEL made records %v (%v)", keys, err)
		}
	})
}

// FuzzGC: for any config, GC releases a bond only if the config names the bond's network and its list of attachments
// does not contain the bond.
func FuzzGC(f *testing.F) {
	f.Add(with(`"cni.dev/valid-attachments":[{"containerID":"c1","ifname":"bond0"}]`))
	f.Add(with(`"cni.dev/valid-attachments":[]`))
	f.Add(with(`"cni.dev/valid-attachments":[{"containerID":"C1","ifname":"bond0"}]`))
	f.Add(with(`"cni.dev/valid-attachments":[null]`))
	f.Add(with(`"cni.dev/valid-attachments":null`))
	f.Add(with(`"CNI.dev/valid-attachments":[]`))
	f.Add([]byte(`{"name":"other","cniVersion":"1.1.0","cni.dev/valid-attachments":[]}`))
	var own struct{ Name string }
	if err := json.Unmarshal(with(`"mtu":1500`), &own); err != nil || own.Name == "" {
		f.Fatal(err)
	}
	p, s := fuzzPlugin(f)
	noPlugins := f.TempDir()
	rec := &bond.Record{
		Key: bond.Key{ContainerID: "c1", IfName: "bond0"}, Network: own.Name, Phase: bond.PhaseReady,
		Sandbox: bond.Sandbox{Path: "/run/netns/p", Dev: 1, Inode: 2}, Spec: bond.Spec{Options: bond.Options{bond.OptMode: "active-backup"}},
		CNI: bond.CNI{Config: []byte(`{"cniVersion":"1.1.0","name":"n","type":"bond"}`)}, // without IPAM
	}
	f.Fuzz(func(t *testing.T, stdin []byte) {
		kit.Must(t, s.Save(rec))
		bondtest.ErrorText(t, p.Funcs().GC(&skel.CmdArgs{Path: noPlugins, StdinData: stdin}))
		found, err := s.Load(rec.Key)
		if err == nil && !found.Deleted() {
			return
		}
		if !errors.Is(err, bond.ErrNotFound) {
			t.Fatalf("released in part: %v", err)
		}
		var config struct {
			Name  string               `json:"name"`
			Valid []types.GCAttachment `json:"cni.dev/valid-attachments"`
		}
		if err := json.Unmarshal(stdin, &config); err != nil || config.Name != rec.Network || config.Valid == nil ||
			slices.Contains(config.Valid, types.GCAttachment{ContainerID: rec.Key.ContainerID, IfName: rec.Key.IfName}) {
			t.Fatalf("released, though the config has %+v (%v)", config, err)
		}
	})
}
