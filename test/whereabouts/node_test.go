//go:build kube

package whereabouts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

const podPath = "/run/netns/pod"

// node is a node with a fake kernel, on which the plugin runs in this process and whereabouts as a process.
type node struct {
	*linktest.Fake
	t      *testing.T
	store  *store.Store
	pod    bond.Sandbox
	stdout bytes.Buffer
	stderr bytes.Buffer
	// conf is the file that whereabouts reads; Multus's directory has it on a real node.
	conf string
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{Fake: linktest.New(), t: t, conf: filepath.Join(t.TempDir(), "whereabouts.conf")}
	n.pod = n.AddPod(podPath)
	for i := range 2 {
		pf := fmt.Sprintf("pf%d", i)
		n.must(n.AddPF(pf, bond.PCIAddress(fmt.Sprintf("0000:%02x:00.0", i+1))))
		n.must(n.SetNumVFs(pf, 1))
		n.must(n.MoveToNetns(linktest.Host, n.hostName(n.VFs(pf)[0]), podPath, fmt.Sprintf("net%d", i+1)))
	}
	var err error
	n.store, err = store.Open(filepath.Join(t.TempDir(), "state"))
	n.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("standard error:\n%s", &n.stderr)
		}
	})
	return n
}

func (n *node) must(err error) {
	n.t.Helper()
	kit.Must(n.t, err)
}

// hostName finds the name that the fake gave a VF.
func (n *node) hostName(pci bond.PCIAddress) string {
	n.t.Helper()
	for i := range 16 {
		name := fmt.Sprintf("eth%d", i)
		if l, found := n.Link(linktest.Host, name); found && l.PCI == pci {
			return name
		}
	}
	n.t.Fatalf("no VF %s in the host:\n%s", pci, n.Fake)
	return ""
}

// access makes whereabouts use a kubeconfig.
func (n *node) access(kubeconfig string) {
	n.t.Helper()
	text := fmt.Sprintf(`{"datastore":"kubernetes","kubernetes":{"kubeconfig":%q}}`, kubeconfig)
	n.must(os.WriteFile(n.conf, []byte(text), 0o600))
}

// noAccess is what the agent's container has of Multus's directory.
func (n *node) noAccess() {
	n.t.Helper()
	n.must(os.Remove(n.conf))
}

func (n *node) plugin() *cni.Plugin {
	return &cni.Plugin{Stdout: &n.stdout, Stderr: &n.stderr, Open: func(string) (*cni.Backend, error) {
		return &cni.Backend{
			Kernel: n.Fake, Store: n.store, FindMembers: n.findMembers,
			Sandbox:     func(string) (bond.Sandbox, error) { return n.pod, nil },
			HostSandbox: func() (bond.Sandbox, error) { return bond.Sandbox{Path: linktest.Host, Dev: 1, Inode: 1}, nil },
			Probe:       func(context.Context) error { return nil },
		}, nil
	}}
}

// engine is the agent's.
func (n *node) engine() *reconcile.Engine {
	return reconcile.New(reconcile.Config{Kernel: n.Fake, Store: n.store, IPAM: &ipam.Client{Stderr: &n.stderr}})
}

// release is the agent's release of a bond.
func (n *node) release(k bond.Key) error {
	rec, err := n.store.Load(k)
	n.must(err)
	return n.engine().ReleaseRecord(n.t.Context(), rec)
}

func (n *node) findMembers(_ context.Context, s bond.MemberQuery) (bond.MemberResult, error) {
	var found bond.MemberResult
	for _, name := range s.Names {
		l, there := n.Link(podPath, name)
		vf, is := n.VF(l.PCI)
		if !there || !is {
			return found, errors.New("no VF " + name)
		}
		found.Links = append(found.Links, bond.MemberLink{Member: bond.Member{
			Name: name, PCI: l.PCI, MAC: l.MAC, VF: &vf, Original: bond.Original{Name: name, MAC: l.MAC, MTU: l.MTU, Up: l.Up},
		}})
	}
	return found, nil
}

// args are those of the container pod; prev is the result of ADD, for CHECK.
func (n *node) args(container, prev string) *skel.CmdArgs {
	if prev != "" {
		prev = `,"prevResult":` + prev
	}
	config := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"bonds","type":"bond","stateDir":"/run/bondkeeper","mode":"active-backup","failOverMac":1,
		"linksInContainer":true,"links":[{"name":"net1"},{"name":"net2"}],
		"ipam":{"type":"whereabouts","range":"192.0.2.0/24","configuration_path":%q}%s}`, n.conf, prev)
	return &skel.CmdArgs{ContainerID: container, Netns: podPath, IfName: "bond0", Path: plugins, StdinData: []byte(config),
		Args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=" + container}
}

// add calls ADD and returns its result.
func (n *node) add(container string) string {
	n.t.Helper()
	n.stdout.Reset()
	n.must(n.plugin().Funcs().Add(n.args(container, "")))
	return n.stdout.String()
}
