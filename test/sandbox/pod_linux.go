package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pod is a sandbox of containerd without containers.
type Pod struct {
	c      *Containerd
	config *cri.PodSandboxConfig
	ID     string
	// Netns is the path of its netns and PID its process; both empty for one in the host's netns.
	Netns string
	PID   int
}

// NewPod makes a pod; inHost leaves it without a netns of its own.
func (c *Containerd) NewPod(ctx context.Context, name string, inHost bool) (*Pod, error) {
	mode := cri.NamespaceMode_POD
	if inHost {
		mode = cri.NamespaceMode_NODE
	}
	p := &Pod{c: c, config: &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: name, Namespace: "demo", Uid: "uid-" + name},
		Linux: &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{
			NamespaceOptions: &cri.NamespaceOption{Network: mode},
		}},
	}}
	made, err := c.CRI.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: p.config})
	if err != nil {
		return nil, fmt.Errorf("pod %s: %w", name, err)
	}
	p.ID = made.GetPodSandboxId()
	return p, p.inspect(ctx)
}

// inspect queries containerd for what the CRI does not report about a sandbox.
func (p *Pod) inspect(ctx context.Context) error {
	s, err := p.c.CRI.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: p.ID, Verbose: true})
	if err != nil {
		return err
	}
	var info struct {
		PID         int `json:"pid"`
		RuntimeSpec struct {
			Linux struct {
				Namespaces []struct{ Type, Path string } `json:"namespaces"`
			} `json:"linux"`
		} `json:"runtimeSpec"`
	}
	if err := json.Unmarshal([]byte(s.GetInfo()["info"]), &info); err != nil {
		return fmt.Errorf("what containerd tells of sandbox %s: %w", p.ID, err)
	}
	p.PID = info.PID
	for _, ns := range info.RuntimeSpec.Linux.Namespaces {
		if ns.Type == "network" {
			p.Netns = ns.Path
		}
	}
	return nil
}

// Populate creates a container in the pod, and does not start it.
func (p *Pod) Populate(ctx context.Context) error {
	_, err := p.c.CRI.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: p.ID, SandboxConfig: p.config, Config: &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "c"}, Image: &cri.ImageSpec{Image: pauseImage},
	}})
	return err
}

// Remove ends the pod as a kubelet does.
func (p *Pod) Remove(ctx context.Context) error {
	if _, err := p.c.CRI.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.ID}); err != nil {
		return err
	}
	_, err := p.c.CRI.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.ID})
	return err
}

// Kill kills its process, and returns when containerd has noticed.
func (p *Pod) Kill(ctx context.Context) error {
	// After the end of its shim containerd kills the process, too.
	if err := unix.Kill(p.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return until(ctx, "containerd sees the end of "+p.ID, func(ctx context.Context) error {
		s, err := p.c.CRI.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: p.ID})
		if err == nil && s.GetStatus().GetState() != cri.PodSandboxState_SANDBOX_NOTREADY {
			err = errors.New("it is ready")
		}
		return err
	})
}

// Wipe removes all traces of the pod without the runtime's knowledge, CNI or CRI: the shim and its process, the netns,
// and containerd's state.
func (p *Pod) Wipe(ctx context.Context) error {
	shim, err := parentOf(p.PID)
	if err != nil {
		return err
	}
	if err = unix.Kill(shim, unix.SIGKILL); err != nil {
		return err
	}
	if err = p.Kill(ctx); err != nil {
		return err
	}
	// containerd may remove a file that is no netns any more, when it is asked about the sandbox (NetNS.Closed).
	if err = errors.Join(unix.Unmount(p.Netns, unix.MNT_DETACH), os.RemoveAll(p.Netns)); err != nil {
		return err
	}
	client, err := containerd.New(p.c.Socket(), containerd.WithDefaultNamespace("k8s.io"))
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	stored := client.SandboxStore().Delete(ctx, p.ID)
	if errdefs.IsNotFound(stored) { // 1.7 stores no sandbox of a pod
		stored = nil
	}
	return errors.Join(client.ContainerService().Delete(ctx, p.ID), stored)
}

// parentOf is the parent of a process: the fourth field of /proc/PID/stat; the second is a name in parentheses.
func parentOf(pid int) (int, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return strconv.Atoi(fields[1])
}

// Networks are a pod's additional networks, as Multus would attach them.
type Networks struct {
	// Plugins are the directories of the plugins, State that of the records, Leases that of host-local's.
	Plugins       []string
	State, Leases string
	// VFs are the PCI addresses of the bond's members. host-device moves them into the pod; if FromHost has their names
	// in the host, the bond does.
	VFs, FromHost []string
}

// call runs one plugin for a pod.
func (n *Networks) call(ctx context.Context, verb string, p *Pod, ifName, config string) error {
	conf, err := libcni.NetworkPluginConfFromBytes([]byte(config))
	if err != nil {
		return err
	}
	m := p.config.GetMetadata()
	rt := &libcni.RuntimeConf{ContainerID: p.ID, NetNS: p.Netns, IfName: ifName, Args: [][2]string{
		{"IgnoreUnknown", "true"}, {"K8S_POD_NAMESPACE", m.GetNamespace()}, {"K8S_POD_NAME", m.GetName()},
		{"K8S_POD_INFRA_CONTAINER_ID", p.ID}, {"K8S_POD_UID", m.GetUid()},
	}}
	cni := libcni.NewCNIConfigWithCacheDir(n.Plugins, filepath.Join(n.State, "cni-cache"), nil)
	if verb == "DEL" {
		err = cni.DelNetwork(ctx, conf, rt)
	} else {
		_, err = cni.AddNetwork(ctx, conf, rt)
	}
	if err != nil {
		return fmt.Errorf("%s of %s for pod %s: %w", verb, ifName, m.GetName(), err)
	}
	return nil
}

func hostDevice(vf string) string {
	return fmt.Sprintf(`{"cniVersion": "0.3.1", "name": "sriov", "type": "host-device", "pciBusID": %q}`, vf)
}

func (n *Networks) bond() string {
	links := n.FromHost
	if links == nil {
		links = []string{"net1", "net2"}
	}
	return fmt.Sprintf(`{"cniVersion": "0.3.1", "name": "bond-net1", "type": "bond", "mode": "active-backup", "failOverMac": 1,
		"linksInContainer": %t, "miimon": "100", "links": [{"name": %q}, {"name": %q}], "stateDir": %q,
		"ipam": {"type": "host-local", "subnet": "10.56.217.0/24", "dataDir": %q}}`, n.FromHost == nil, links[0], links[1], n.State, n.Leases)
}

// hostDevices calls host-device for each VF that it moves.
func (n *Networks) hostDevices(ctx context.Context, verb string, p *Pod) error {
	if n.FromHost != nil {
		return nil
	}
	var errs []error
	for i, vf := range n.VFs {
		errs = append(errs, n.call(ctx, verb, p, fmt.Sprint("net", i+1), hostDevice(vf)))
	}
	return errors.Join(errs...)
}

// Add adds the VFs and a bond of them to a pod.
func (n *Networks) Add(ctx context.Context, p *Pod) error {
	if err := n.hostDevices(ctx, "ADD", p); err != nil {
		return err
	}
	return n.call(ctx, "ADD", p, "bond0", n.bond())
}

// Del deletes them, the bond first.
func (n *Networks) Del(ctx context.Context, p *Pod) error {
	return errors.Join(n.call(ctx, "DEL", p, "bond0", n.bond()), n.hostDevices(ctx, "DEL", p))
}

// Lease is the address that host-local holds for a container's bond; empty if there is none.
func (n *Networks) Lease(containerID string) (string, error) {
	dir := filepath.Join(n.Leases, "bond-net1")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	for _, e := range entries {
		owner, readErr := os.ReadFile(filepath.Join(dir, e.Name()))
		if readErr == nil && strings.HasPrefix(string(owner), containerID) {
			return e.Name(), nil
		}
	}
	return "", err
}
