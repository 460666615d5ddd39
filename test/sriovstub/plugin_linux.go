package sriovstub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// DefaultDir is config.DefaultCNIDir.
const DefaultDir = "/var/lib/cni/sriov"

// Release selects the files that a release of sriov-cni writes.
type Release int

// The releases with different behaviour.
const (
	// Locking is v2.10.0: cache, claim and lock.
	Locking Release = iota
	// Claiming is v2.7.0 to v2.9.0: cache and claim, no lock.
	Claiming
	// Caching is v2.6 and older: a cache only.
	Caching
	// Unreleased is commit 1b7acc5 after v2.10.0: the VF goes through a temporary netns, and DEL restores both MACs,
	// requested or not.
	Unreleased
)

// Plugin is one installation of sriov-cni.
type Plugin struct {
	// Dir is the directory of its files; empty for DefaultDir.
	Dir     string
	Release Release
}

// Args are the environment variables of one call.
type Args struct {
	ContainerID, Netns, IfName string
}

// NetConf is types.NetConf (pkg/types): the network config, and after ADD the cache file's content.
type NetConf struct {
	CNIVersion  string  `json:"cniVersion,omitempty"`
	Name        string  `json:"name,omitempty"`
	Type        string  `json:"type,omitempty"`
	OrigVfState VFState `json:"OrigVfState"`
	Master      string  `json:"Master"`
	MAC         string  `json:"MAC"`
	MTU         *int    `json:"MTU"`
	VLAN        *int    `json:"vlan"`
	VLANQoS     *int    `json:"vlanQoS"`
	VLANProto   *string `json:"vlanProto"`
	DeviceID    string  `json:"deviceID"`
	VFID        int     `json:"VFID"`
	MinTxRate   *int    `json:"min_tx_rate"`
	MaxTxRate   *int    `json:"max_tx_rate"`
	SpoofChk    string  `json:"spoofchk,omitempty"`
	Trust       string  `json:"trust,omitempty"`
	LinkState   string  `json:"link_state,omitempty"`
	Runtime     struct {
		MAC string `json:"mac,omitempty"`
	} `json:"runtimeConfig"`
	LogLevel string `json:"logLevel,omitempty"`
	LogFile  string `json:"logFile,omitempty"`

	release Release
}

// VFState is types.VfState: what DEL restores. It has no JSON names.
type VFState struct {
	HostIFName           string
	SpoofChk, Trust      bool
	AdminMAC             string
	EffectiveMAC         string
	Vlan, VlanQoS        int
	VlanProto            int
	MinTxRate, MaxTxRate int
	LinkState            uint32
	MTU                  int
}

// Add is CmdAdd (pkg/cnicommands). The lock is held until Add returns, when the real plugin's process ends.
func (p Plugin) Add(a Args, stdin []byte) (err error) {
	c := &NetConf{release: p.Release}
	if err = json.Unmarshal(stdin, c); err != nil {
		return fmt.Errorf("failed to load netconf: %w", err)
	}
	if c.Runtime.MAC != "" {
		c.MAC = c.Runtime.MAC
	}
	c.MAC = strings.ToLower(c.MAC)
	if err = c.locate(); err != nil { // LoadConf: PF and number before the lock
		return err
	}
	unlock, err := p.lock(c.DeviceID)
	if err != nil {
		return err
	}
	defer unlock()
	if err = p.load(c); err != nil {
		return err
	}
	pod, err := netns.Open(a.Netns)
	if err != nil {
		return err
	}
	defer func() { _ = pod.Close() }()
	if err = c.fillOriginal(); err != nil {
		return err
	}
	if err = c.applyVF(); err != nil { // what was set stays: the deferred function reads a shadowed variable
		return err
	}
	defer func() {
		if err != nil { // releaseVF fails if the VF is not in the pod yet
			_ = c.releaseVF(pod, a.IfName)
			_ = c.resetVF()
		}
	}()
	if err = c.setupVF(pod, a.IfName); err != nil {
		return fmt.Errorf("failed to set up pod interface %q from the device %q: %w", a.IfName, c.Master, err)
	}
	if err = p.save(a, c); err != nil { // the cache first, then the claim
		return err
	}
	return p.claim(c.DeviceID, a.Netns)
}

// Files writes the same files as Add, in the same order, for a VF that is in the pod already: directories, lock file,
// cache and claim.
func (p Plugin) Files(a Args, c *NetConf) error {
	unlock, err := p.lock(c.DeviceID)
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.save(a, c); err != nil {
		return err
	}
	return p.claim(c.DeviceID, a.Netns)
}

// Del is CmdDel. Three of its properties matter to others:
//   - without a cache it succeeds and does nothing;
//   - after an error under the lock it removes the cache anyway, because its deferred function reads a shadowed variable.
//     The claim stays: the next DEL finds nothing to do (GetVfid, ResetVFConfig, ReleaseVF);
//   - a claim that cannot be removed is the only error after which the cache stays.
func (p Plugin) Del(a Args) (err error) {
	c, err := p.Cached(a)
	if err != nil {
		return nil
	}
	unlock, err := p.lock(c.DeviceID)
	if err != nil {
		return err
	}
	defer unlock()
	retain := false
	defer func() {
		if !retain {
			_ = os.Remove(p.cache(a))
		}
	}()
	if a.Netns == "" {
		return nil
	}
	if _, err = numberOf(c.DeviceID, c.Master); err != nil {
		return fmt.Errorf("cmdDel() error obtaining VF ID: %w", err)
	}
	// ResetVFConfig before ReleaseVF.
	if err = c.resetVF(); err != nil {
		return fmt.Errorf("cmdDel() error reseting VF: %w", err)
	}
	pod, err := netns.Open(a.Netns)
	if errors.Is(err, netns.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = pod.Close() }()
	if err = c.releaseVF(pod, a.IfName); err != nil {
		return err
	}
	if err = p.unclaim(c.DeviceID); err != nil {
		retain = true
	}
	return err
}

// Cached is the cache's content about an attachment (LoadConfFromCache).
func (p Plugin) Cached(a Args) (*NetConf, error) {
	data, err := os.ReadFile(p.cache(a))
	if err != nil {
		return nil, err
	}
	c := &NetConf{release: p.Release}
	return c, json.Unmarshal(data, c)
}

// locate is getVfInfo (pkg/config): the PF by the first name in sysfs, and the VF's number.
func (c *NetConf) locate() error {
	pf, err := firstNetdev(filepath.Join(pciDevices, c.DeviceID, "physfn", "net"))
	if err != nil {
		return fmt.Errorf("LoadConf(): failed to get VF information: %w", err)
	}
	c.Master = pf
	c.VFID, err = numberOf(c.DeviceID, pf)
	return err
}

// load is the rest of LoadConf, under the lock.
func (p Plugin) load(c *NetConf) error {
	if allocated, err := p.allocated(c.DeviceID); err != nil || allocated {
		return errors.Join(err, fmt.Errorf("pci address %s is already allocated", c.DeviceID))
	}
	name, err := firstNetdev(filepath.Join(pciDevices, c.DeviceID, "net"))
	if err != nil {
		return fmt.Errorf("LoadConf(): the VF %s does not have a interface name or a dpdk driver: %w", c.DeviceID, err)
	}
	c.OrigVfState.HostIFName = name
	if c.VLAN != nil && c.VLANQoS == nil {
		c.VLANQoS = new(0)
	}
	if c.VLAN != nil && c.VLANProto == nil {
		c.VLANProto = new("802.1q")
	}
	return nil
}

const (
	pciDevices = "/sys/bus/pci/devices"
	netDevices = "/sys/class/net"
)

// firstNetdev is GetPfName and GetVFLinkName: both take the first of several.
func firstNetdev(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return "", err
	}
	return entries[0].Name(), nil
}

// numberOf is GetVfid.
func numberOf(vf, pf string) (int, error) {
	links, err := filepath.Glob(filepath.Join(netDevices, pf, "device", "virtfn*"))
	if err != nil {
		return 0, err
	}
	for _, l := range links {
		to, err := os.Readlink(l)
		if err != nil || filepath.Base(to) != vf {
			continue
		}
		var n int
		_, err = fmt.Sscanf(filepath.Base(l), "virtfn%d", &n)
		return n, err
	}
	return 0, fmt.Errorf("unable to get VF ID with PF: %s and VF pci address %s", pf, vf)
}

func (c *NetConf) pf() (netlink.Link, error) {
	l, err := netlink.LinkByName(c.Master)
	if err != nil {
		return nil, fmt.Errorf("failed to lookup master %q: %w", c.Master, err)
	}
	return l, nil
}
