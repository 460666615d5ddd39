package link_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// realHarness is a linktest.Harness on the real kernel: links are changed with ip and sysfs. Changes of VFs are in
// contract_vfharness_linux_test.go.
type realHarness struct {
	*link.Kernel
	kit.Links
	t     *testing.T
	sriov string            // sriov-cni's directory; its claims are in pci there
	peers map[string]string // of veths, by path and name; the peers are in the host
	cards *testCards        // nil if there are no VFs
}

func (h *realHarness) AddPod(path string) bond.Sandbox {
	h.t.Helper()
	kit.Must(h.t, kit.AddNetns(path))
	h.t.Cleanup(func() { _ = h.DeletePod(path) }) // it may be gone already
	sandbox, err := netns.SandboxAt(path)
	kit.Must(h.t, err)
	return sandbox
}

func (h *realHarness) DeletePod(path string) error { return kit.DeleteNetns(path) }

func (h *realHarness) AddMember(path, name string) (bond.Member, error) {
	m := bond.Member{Name: name}
	var err error
	if h.cards != nil {
		m.PCI, m.VF, err = h.addVF(path, name)
	} else {
		err = h.addVeth(path, name)
	}
	l, _ := h.Link(path, name)
	m.Index, m.MAC = l.Index, l.MAC
	if m.PCI == "" && err == nil {
		m.Kind, m.Serial = l.Kind, h.serial(path, name)
	}
	return m, err
}

// serial reads the serial with a shell in the netns.
func (h *realHarness) serial(path, name string) uint64 {
	h.t.Helper()
	out, err := kit.IP("", "netns", "exec", filepath.Base(path), "stat", "-L", "-c", "%i", "/sys/class/net/"+name)
	kit.Must(h.t, err)
	serial, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
	kit.Must(h.t, err)
	return serial
}

func (h *realHarness) AddTwin(path, name string, index int) error {
	_, err := h.IP(path, "link", "add", name, "index", fmt.Sprint(index), "type", "veth", "peer", "name", fmt.Sprintf("bkpeer%d", veths.next()))
	return err
}

// addVeth makes a veth: one end in the pod, its peer, up, in the host.
func (h *realHarness) addVeth(path, name string) error {
	peer := fmt.Sprintf("bkpeer%d", veths.next())
	if _, err := h.IP(path, "link", "add", name, "type", "veth", "peer", "name", peer, "netns", h.Target(linktest.Host)); err != nil {
		return err
	}
	h.peers[path+"/"+name] = peer
	return h.Set(linktest.Host, peer, "up")
}

// AddImpostor makes a dummy, or one end of a veth if the kernel has no dummies.
func (h *realHarness) AddImpostor(path, name string) (bond.Link, error) {
	l, err := h.Links.AddImpostor(path, name)
	if err != nil {
		err = h.addVeth(path, name)
		l, _ = h.Link(path, name)
	}
	return l, err
}

func (h *realHarness) AddSharedRoute(path string, r bond.Route, hops [2]linktest.Hop) error {
	args := []string{"route", "add", r.Dst.String(), "mtu", fmt.Sprint(r.MTU)}
	for _, hop := range hops {
		args = append(args, "nexthop", "via", hop.Gateway.String(), "dev", hop.Link)
	}
	_, err := h.IP(path, args...)
	return err
}

// SetSettings writes the sysctls' files in the netns, and uses ip for the rest.
func (h *realHarness) SetSettings(path, name string, c bond.SettingsChange) error {
	onOff := map[bool]string{true: "on", false: "off"}
	err := h.Set(path, name, "txqueuelen", fmt.Sprint(*c.TxQLen),
		"promisc", onOff[*c.Flags&bond.FlagPromisc != 0], "allmulticast", onOff[*c.Flags&bond.FlagAllMulti != 0],
		"multicast", onOff[*c.Flags&bond.FlagMulticast != 0], "arp", onOff[*c.Flags&bond.FlagNoARP == 0])
	ns, openErr := netns.Open(path)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	defer func() { _ = ns.Close() }()
	for _, s := range c.Sysctls {
		file := filepath.Join("/proc/sys/net", s.Family, s.Dir(), name, s.Name)
		err = errors.Join(err, ns.Do(func() error { return os.WriteFile(file, []byte(fmt.Sprint(s.Value)), 0) }))
	}
	return err
}

// SetCarrier sets the peer of a veth, or the PF of a VF, up or down.
func (h *realHarness) SetCarrier(path, name string, on bool) error {
	if h.cards != nil {
		return h.setPF(path, name, on)
	}
	if on {
		return h.SetUp(linktest.Host, h.peers[path+"/"+name])
	}
	return h.SetDown(linktest.Host, h.peers[path+"/"+name])
}

// Silence has nothing to do: no harness has ARP targets or an LACP partner.
func (h *realHarness) Silence(string, string) error { return nil }

func (h *realHarness) claim(pci bond.PCIAddress) string {
	return filepath.Join(h.sriov, "pci", string(pci))
}

func (h *realHarness) Attach(r *bond.Record, i int) {
	m := &r.Members[i]
	m.SriovCNI = &bond.SriovCNI{Cache: filepath.Join(h.sriov, r.Key.ContainerID+"-"+m.Name), Claim: h.claim(m.PCI)}
	h.Cache(m.SriovCNI.Cache, m.PCI)
	h.Claim(m.PCI, r.Sandbox.Path)
}

func (h *realHarness) Claim(pci bond.PCIAddress, path string) { h.file(h.claim(pci), path) }

func (h *realHarness) Cache(path string, pci bond.PCIAddress) {
	text := ""
	if pci != "" {
		text = fmt.Sprintf(`{"deviceID":%q}`, pci)
	}
	h.file(path, text)
}

// BreakClaim replaces it by a directory: root may read every file.
func (h *realHarness) BreakClaim(pci bond.PCIAddress) {
	h.file(h.claim(pci), "")
	kit.Must(h.t, os.Mkdir(h.claim(pci), 0o700))
}

// file writes a file of sriov-cni; an empty text removes it.
func (h *realHarness) file(path, text string) {
	h.t.Helper()
	err := os.RemoveAll(path)
	if err == nil && text != "" {
		err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o600), os.WriteFile(path, []byte(text), 0o600))
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o600)
	}
	kit.Must(h.t, err)
}
