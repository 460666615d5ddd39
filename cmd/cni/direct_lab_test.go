//go:build lab

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/containernetworking/cni/pkg/skel"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// direct is the plugin in this process: a process takes 0.3 s to start in a guest without hardware acceleration, and
// these tests call it some thousand times.
type direct struct {
	*pod
	config map[string]any
	prev   json.RawMessage
}

// direct makes a config with members net1 and net2, without IPAM, and with these fields.
func (p *pod) direct(version string, fields map[string]any) *direct {
	c := map[string]any{
		"cniVersion": version, "name": "lab", "type": "bond", "stateDir": p.state, "linksInContainer": true,
		"links": []any{map[string]any{"name": "net1"}, map[string]any{"name": "net2"}},
	}
	for k, v := range fields {
		c[k] = v
	}
	return &direct{pod: p, config: c}
}

// callHere calls a verb in this process.
func callHere(verb string, stderr io.Writer, args *skel.CmdArgs) ([]byte, error) {
	var out bytes.Buffer
	funcs := (&cni.Plugin{Open: open, Stdout: &out, Stderr: stderr}).Funcs()
	err := map[string]func(*skel.CmdArgs) error{
		"ADD": funcs.Add, "CHECK": funcs.Check, "DEL": funcs.Del, "GC": funcs.GC, "STATUS": funcs.Status,
	}[verb](args)
	return out.Bytes(), err
}

// verb calls the plugin and returns its output.
func (d *direct) verb(name string) ([]byte, error) {
	d.t.Helper()
	config := map[string]any{"prevResult": d.prev}
	for k, v := range d.config {
		config[k] = v
	}
	if d.prev == nil {
		delete(config, "prevResult")
	}
	stdin, err := json.Marshal(config)
	if err != nil {
		d.t.Fatal(err)
	}
	var problems bytes.Buffer
	out, err := callHere(name, &problems, &skel.CmdArgs{ContainerID: d.name, Netns: d.netns, IfName: "bond0", Path: binDir, StdinData: stdin,
		Args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=" + d.name})
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, &problems)
	}
	return out, err
}

// add is an ADD that must succeed; its result has the config's version and is returned for versions since 0.3.0.
func (d *direct) add() *current.Result {
	d.t.Helper()
	out, err := d.verb("ADD")
	if err != nil {
		d.t.Fatalf("ADD: %v", err)
	}
	r, err := create.CreateFromBytes(out)
	if err != nil {
		d.t.Fatalf("result %s: %v", out, err)
	}
	if r.Version() != d.config["cniVersion"] {
		d.t.Errorf("the result speaks version %s, the config %s", r.Version(), d.config["cniVersion"])
	}
	d.prev = out
	d.t.Cleanup(func() { _, _ = d.verb("DEL") }) // if the test did not call DEL
	if slices.Contains(specVersions[:2], r.Version()) {
		return nil // one without addresses cannot be converted
	}
	result, err := current.NewResultFromResult(r)
	if err != nil {
		d.t.Fatal(err)
	}
	return result
}

func (d *direct) must(verb string) {
	d.t.Helper()
	if _, err := d.verb(verb); err != nil {
		d.t.Fatalf("%s: %v", verb, err)
	}
}

// engine is the agent's, in this process.
func (d *direct) engine() *reconcile.Engine {
	d.t.Helper()
	b, err := open(d.state)
	if err != nil {
		d.t.Fatal(err)
	}
	return reconcile.New(reconcile.Config{Kernel: b.Kernel, Store: b.Store})
}

func (d *direct) key() bond.Key { return bond.Key{ContainerID: d.name, IfName: "bond0"} }

// converge is one reconcile as by the agent.
func (d *direct) converge() reconcile.Outcome {
	d.t.Helper()
	out, err := d.engine().Converge(d.t.Context(), d.key())
	if err != nil {
		d.t.Fatalf("converge: %v", err)
	}
	return out
}

func (d *direct) record() *bond.Record {
	d.t.Helper()
	b, err := open(d.state)
	if err != nil {
		d.t.Fatal(err)
	}
	r, err := b.Store.Load(d.key())
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// gone checks that there is no record.
func (d *direct) gone() {
	d.t.Helper()
	b, err := open(d.state)
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := b.Store.Load(d.key()); !errors.Is(err, bond.ErrNotFound) {
		d.t.Errorf("a record is left: %v", err)
	}
}
