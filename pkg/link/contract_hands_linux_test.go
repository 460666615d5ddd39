package link_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// hands are a linktest.World on the real kernel: what is done by hand is done with ip
// and sysfs. What is done to VFs is in a file of its own.
type hands struct {
	*link.Kernel
	t     *testing.T
	host  string            // path of the netns that is the host's; empty for our own
	sriov string            // sriov-cni's directory; its claims are in pci there
	peers map[string]string // of veths, by path and name; the peers are in the host
	cards *cards            // nil where there are no VFs
}

// ip runs ip in a netns.
func (h *hands) ip(path string, args ...string) ([]byte, error) {
	if path == linktest.Host {
		path = h.host
	}
	open := netns.Current
	if path != "" {
		open = func() (*netns.NS, error) { return netns.Open(path) }
	}
	ns, err := open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = ns.Close() }()
	var out []byte
	err = ns.Do(func() (err error) {
		out, err = exec.Command("ip", args...).CombinedOutput()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return out, nil
}

func (h *hands) set(path, name string, args ...string) error {
	_, err := h.ip(path, append([]string{"link", "set", "dev", name}, args...)...)
	return err
}

// target is how ip names a netns to move a link to.
func (h *hands) target(path string) string {
	switch {
	case path != linktest.Host:
		return filepath.Base(path)
	case h.host != "":
		return filepath.Base(h.host)
	default:
		return "1" // by a process in it
	}
}

func (h *hands) AddPod(path string) bond.Sandbox {
	h.t.Helper()
	add := h.makeNetns
	if _, err := os.Stat(path); err == nil {
		add = h.replaceNetns
	}
	if err := add(path); err != nil {
		h.t.Fatal(err)
	}
	sandbox, err := netns.SandboxAt(path)
	if err != nil {
		h.t.Fatal(err)
	}
	return sandbox
}

func (h *hands) makeNetns(path string) error {
	h.t.Cleanup(func() { _ = h.DeletePod(path) }) // it may be gone by then
	_, err := h.ip("/proc/self/ns/net", "netns", "add", filepath.Base(path))
	return err
}

// replaceNetns makes the new one before the old one goes: the kernel gives the inode
// number of a dead netns to the next one (proc_alloc_inum takes the lowest that is free).
func (h *hands) replaceNetns(path string) error {
	fresh := path + "n"
	if err := errors.Join(h.makeNetns(fresh), h.DeletePod(path), os.WriteFile(path, nil, 0o400)); err != nil {
		return err
	}
	return unix.Mount(fresh, path, "", unix.MS_BIND, "")
}

func (h *hands) DeletePod(path string) error {
	_, err := h.ip("/proc/self/ns/net", "netns", "del", filepath.Base(path))
	return err
}

func (h *hands) AddMember(path, name string) (bond.Member, error) {
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

// serial reads the number as a shell in the netns does.
func (h *hands) serial(path, name string) uint64 {
	h.t.Helper()
	out, err := h.ip("/proc/self/ns/net", "netns", "exec", filepath.Base(path), "stat", "-L", "-c", "%i", "/sys/class/net/"+name)
	if err != nil {
		h.t.Fatal(err)
	}
	serial, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		h.t.Fatal(err)
	}
	return serial
}

func (h *hands) AddTwin(path, name string, index int) error {
	_, err := h.ip(path, "link", "add", name, "index", fmt.Sprint(index), "type", "veth", "peer", "name", fmt.Sprintf("bkpeer%d", veths.next()))
	return err
}

// addVeth makes a pair: one end in the pod, its peer, up, in the host.
func (h *hands) addVeth(path, name string) error {
	peer := fmt.Sprintf("bkpeer%d", veths.next())
	if _, err := h.ip(path, "link", "add", name, "type", "veth", "peer", "name", peer, "netns", h.target(linktest.Host)); err != nil {
		return err
	}
	h.peers[path+"/"+name] = peer
	return h.set(linktest.Host, peer, "up")
}

func (h *hands) AddMacvlan(path, name, lower string) error {
	_, err := h.ip(path, "link", "add", "link", lower, "name", name, "type", "macvlan")
	return err
}

func (h *hands) DeleteLink(path, name string) error {
	_, err := h.ip(path, "link", "del", name)
	return err
}

// AddDecoy makes a dummy, or where there is none one end of a veth.
func (h *hands) AddDecoy(path, name string) (bond.Link, error) {
	if _, err := h.ip(path, "link", "add", name, "type", "dummy"); err != nil {
		if err := h.addVeth(path, name); err != nil {
			return bond.Link{}, err
		}
	}
	l, _ := h.Link(path, name)
	return l, nil
}

// Link reads a link as ip shows it. Master tells only whether there is one.
func (h *hands) Link(path, name string) (bond.Link, bool) {
	out, err := h.ip(path, "-d", "-j", "link", "show", "dev", name)
	if err != nil {
		return bond.Link{}, false
	}
	var shown []struct {
		Index  int      `json:"ifindex"`
		Name   string   `json:"ifname"`
		MAC    bond.MAC `json:"address"`
		MTU    int      `json:"mtu"`
		Flags  []string `json:"flags"`
		Master string   `json:"master"`
		Info   struct {
			Kind string `json:"info_kind"`
		} `json:"linkinfo"`
	}
	if err := json.Unmarshal(out, &shown); err != nil || len(shown) != 1 {
		h.t.Fatalf("ip link show dev %s: %v: %s", name, err, out)
	}
	s := shown[0]
	l := bond.Link{
		Index: s.Index, Name: s.Name, Kind: s.Info.Kind, MAC: s.MAC, MTU: s.MTU,
		Up: slices.Contains(s.Flags, "UP"), Carrier: slices.Contains(s.Flags, "LOWER_UP"),
	}
	if s.Master != "" {
		l.Master = -1
	}
	return l, true
}

func (h *hands) Rename(path, name, to string) error { return h.set(path, name, "name", to) }
func (h *hands) SetUp(path, name string) error      { return h.set(path, name, "up") }
func (h *hands) SetDown(path, name string) error    { return h.set(path, name, "down") }
func (h *hands) Release(path, name string) error    { return h.set(path, name, "nomaster") }

func (h *hands) SetMAC(path, name string, m bond.MAC) error {
	return h.set(path, name, "address", string(m))
}

func (h *hands) SetMTU(path, name string, mtu int) error {
	return h.set(path, name, "mtu", fmt.Sprint(mtu))
}

func (h *hands) MoveToHost(path, name string) error {
	return h.set(path, name, "netns", h.target(linktest.Host))
}

func (h *hands) MoveToNetns(path, name, toPath, to string) error {
	return h.set(path, name, "name", to, "netns", h.target(toPath))
}

func (h *hands) Enslave(path, name, bondName string) error {
	return errors.Join(h.SetDown(path, name), h.set(path, name, "master", bondName))
}

func (h *hands) AddBond(path, name string) error {
	_, err := h.ip(path, "link", "add", name, "type", "bond")
	return err
}

func (h *hands) DeleteBond(path, name string) error {
	_, err := h.ip(path, "link", "del", name)
	return err
}

func (h *hands) FlushAddresses(path, name string) error {
	_, err := h.ip(path, "addr", "flush", "dev", name)
	return err
}

func (h *hands) AddAddresses(path, name string, all []netip.Prefix) error {
	var lines strings.Builder
	for _, p := range all {
		dad := ""
		if p.Addr().Is6() {
			dad = "nodad"
		}
		fmt.Fprintf(&lines, "address add %s dev %s %s\n", p, name, dad)
	}
	return h.batch(path, lines.String())
}

func (h *hands) AddRoutes(path, name string, all []bond.Route) error {
	var lines strings.Builder
	for _, r := range all {
		table := unix.RT_TABLE_MAIN
		if r.Table != nil {
			table = *r.Table
		}
		fmt.Fprintf(&lines, "route add %s dev %s table %d proto %d\n", r.Dst, name, table, r.Proto)
	}
	return h.batch(path, lines.String())
}

func (h *hands) AddSharedRoute(path string, r bond.Route, hops [2]linktest.Hop) error {
	args := []string{"route", "add", r.Dst.String(), "mtu", fmt.Sprint(r.MTU)}
	for _, hop := range hops {
		args = append(args, "nexthop", "via", hop.Gateway.String(), "dev", hop.Link)
	}
	_, err := h.ip(path, args...)
	return err
}

// batch runs commands of ip in one process.
func (h *hands) batch(path, lines string) error {
	file := filepath.Join(h.t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		return err
	}
	_, err := h.ip(path, "-batch", file)
	return err
}

func (h *hands) AddVRF(path, name string, table int) error {
	if _, err := h.ip(path, "link", "add", name, "type", "vrf", "table", fmt.Sprint(table)); err != nil {
		return err
	}
	return h.set(path, name, "up")
}

// SetSettings writes the sysctls' files in the netns, and has ip do the rest.
func (h *hands) SetSettings(path, name string, c bond.SettingsChange) error {
	onOff := map[bool]string{true: "on", false: "off"}
	err := h.set(path, name, "txqueuelen", fmt.Sprint(*c.TxQLen),
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

// SetCarrier sets the other end of a veth, or the PF of a VF.
func (h *hands) SetCarrier(path, name string, on bool) error {
	state := "down"
	if on {
		state = "up"
	}
	if h.cards != nil {
		return h.setPF(path, name, state)
	}
	return h.set(linktest.Host, h.peers[path+"/"+name], state)
}

func (h *hands) claim(pci bond.PCIAddress) string { return filepath.Join(h.sriov, "pci", string(pci)) }

func (h *hands) Attach(r *bond.Record, i int) {
	m := &r.Members[i]
	m.SriovCNI = &bond.SriovCNI{Cache: filepath.Join(h.sriov, r.Key.ContainerID+"-"+m.Name), Claim: h.claim(m.PCI)}
	h.Cache(m.SriovCNI.Cache, m.PCI)
	h.Claim(m.PCI, r.Sandbox.Path)
}

func (h *hands) Claim(pci bond.PCIAddress, path string) { h.file(h.claim(pci), path) }

func (h *hands) Cache(path string, pci bond.PCIAddress) {
	text := ""
	if pci != "" {
		text = fmt.Sprintf(`{"deviceID":%q}`, pci)
	}
	h.file(path, text)
}

// BreakClaim puts a directory in its place: root may read every file.
func (h *hands) BreakClaim(pci bond.PCIAddress) {
	h.file(h.claim(pci), "")
	if err := os.Mkdir(h.claim(pci), 0o700); err != nil {
		h.t.Fatal(err)
	}
}

// file writes a file of sriov-cni's; no text removes it.
func (h *hands) file(path, text string) {
	h.t.Helper()
	err := os.RemoveAll(path)
	if err == nil && text != "" {
		err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o600), os.WriteFile(path, []byte(text), 0o600))
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o600)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}
