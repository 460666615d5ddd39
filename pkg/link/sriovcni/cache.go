package sriovcni

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// DefaultDir is the default directory of sriov-cni's files.
const DefaultDir = "/var/lib/cni/sriov"

// maxFile bounds a cache file; a complete network config has some kilobytes.
const maxFile = 1 << 20

// Attachment is what was requested from sriov-cni when it attached a VF to a pod.
type Attachment struct {
	PCI bond.PCIAddress
	// MAC is the VF's address in the pod: the requested one, or else its previous one.
	// Empty if the file has neither.
	MAC bond.MAC
	// MTU in bytes that the netdev got; 0 when none was asked for.
	MTU int
	// PFName and Number were the VF's at that time. The name may be another card's by now.
	PFName string
	Number int
	// Requested are the requested settings of the PF; the others were not changed.
	Requested bond.VFSettings
}

// netConf has the fields of the cached network config that are read here. Null or empty means not requested.
type netConf struct {
	DeviceID  string  `json:"deviceID"`
	Master    string  `json:"Master"`
	VFID      int     `json:"VFID"`
	MAC       string  `json:"MAC"`
	MTU       *int    `json:"MTU"`
	VLAN      *int    `json:"vlan"`
	VLANQoS   *int    `json:"vlanQoS"`
	VLANProto *string `json:"vlanProto"`
	MinTxRate *int    `json:"min_tx_rate"`
	MaxTxRate *int    `json:"max_tx_rate"`
	SpoofChk  string  `json:"spoofchk"`
	Trust     string  `json:"trust"`
	LinkState string  `json:"link_state"`
	Orig      struct {
		EffectiveMAC string
	} `json:"OrigVfState"`
}

// Read returns what was requested for the interface ifName of a sandbox, from dir; nil if sriov-cni has no such
// attachment. After an error no part of the file is used.
func Read(dir string, key bond.Key) (*Attachment, error) {
	path, err := CachePath(dir, key)
	if err != nil {
		return nil, err
	}
	data, err := load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		var a *Attachment
		if a, err = parse(data); err == nil {
			return a, nil
		}
	}
	return nil, fmt.Errorf("sriov-cni's cache %s: %w", path, err)
}

// CachePath returns the path of the cache file of the interface ifName of a sandbox, in dir.
func CachePath(dir string, key bond.Key) (string, error) {
	if err := key.Validate(); err != nil { // it becomes a path
		return "", err
	}
	return filepath.Join(dir, key.ContainerID+"-"+key.IfName), nil
}

// Device returns the VF in a cache file. The error matches fs.ErrNotExist if there is no such file.
func Device(path string) (bond.PCIAddress, error) {
	data, err := load(path)
	if err != nil {
		return "", err
	}
	var c struct {
		DeviceID string `json:"deviceID"`
	}
	if err = json.Unmarshal(data, &c); err != nil {
		return "", bond.DecodeError(err)
	}
	return bond.ParsePCIAddress(c.DeviceID)
}

// load reads a small regular file.
func load(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // a pipe must not block
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is not a regular file but %s", info.Mode().Type())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return data, err
}

func parse(data []byte) (*Attachment, error) {
	var c netConf
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, bond.DecodeError(err)
	}
	if c.Master != "" { // it becomes part of a netlink request
		if err := bond.ValidateIfName(c.Master); err != nil {
			return nil, fmt.Errorf("Master: %w", err)
		}
	}
	if c.VFID < 0 || c.VFID > maxVFID {
		return nil, fmt.Errorf("VFID: %d is not between 0 and %d", c.VFID, maxVFID)
	}
	a := &Attachment{PFName: c.Master, Number: c.VFID}
	var err error
	if a.PCI, err = bond.ParsePCIAddress(c.DeviceID); err != nil {
		return nil, fmt.Errorf("deviceID: %w", err)
	}
	if c.MTU != nil {
		if *c.MTU < 0 || *c.MTU > maxMTU {
			return nil, fmt.Errorf("MTU: %d is none", *c.MTU)
		}
		a.MTU = *c.MTU
	}
	if a.Requested, err = c.settings(); err != nil {
		return nil, err
	}
	a.MAC, err = c.podMAC()
	return a, err
}

// podMAC returns the VF's MAC in the pod. The VF's previous MAC is used only if it is valid.
func (c *netConf) podMAC() (bond.MAC, error) {
	if c.MAC != "" {
		return bond.ParseMAC(c.MAC)
	}
	if mac, err := bond.ParseMAC(c.Orig.EffectiveMAC); err == nil {
		return mac, nil
	}
	return "", nil
}
