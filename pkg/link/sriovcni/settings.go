package sriovcni

import (
	"fmt"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

const (
	maxMTU  = 65535
	maxVLAN = 4094
	maxQoS  = 7
	maxVFID = 65535 // NumVFs has 16 bits
)

// settings returns the requested settings of the PF.
func (c *netConf) settings() (s bond.VFSettings, err error) {
	if c.MAC != "" {
		mac, wrong := bond.ParseMAC(c.MAC)
		if wrong != nil {
			return s, fmt.Errorf("MAC: %w", wrong)
		}
		s.MAC = &mac
	}
	if s.VLAN, err = c.vlan(); err != nil {
		return s, err
	}
	if s.Rate, err = c.rate(); err != nil {
		return s, err
	}
	if s.SpoofChk, err = onOff("spoofchk", c.SpoofChk); err != nil {
		return s, err
	}
	if s.Trust, err = onOff("trust", c.Trust); err != nil {
		return s, err
	}
	s.LinkState, err = linkState(c.LinkState)
	return s, err
}

// vlan: QoS and protocol have a meaning only with an ID. The default protocol is 802.1Q.
func (c *netConf) vlan() (*bond.VLAN, error) {
	if c.VLAN == nil {
		return nil, nil
	}
	v := &bond.VLAN{ID: *c.VLAN, Proto: 0x8100}
	if v.ID < 0 || v.ID > maxVLAN {
		return nil, fmt.Errorf("vlan: %d is not between 0 and %d", v.ID, maxVLAN)
	}
	if c.VLANQoS != nil {
		v.QoS = *c.VLANQoS
	}
	if v.QoS < 0 || v.QoS > maxQoS {
		return nil, fmt.Errorf("vlanQoS: %d is not between 0 and %d", v.QoS, maxQoS)
	}
	if c.VLANProto == nil {
		return v, nil
	}
	switch strings.ToLower(*c.VLANProto) {
	case "", "802.1q":
	case "802.1ad":
		v.Proto = 0x88a8
	default:
		return nil, fmt.Errorf("vlanProto: %.64q is neither 802.1q nor 802.1ad", *c.VLANProto)
	}
	return v, nil
}

// rate: the kernel sets both limits at once; one that was not requested is 0, no limit.
func (c *netConf) rate() (*bond.VFRate, error) {
	if c.MinTxRate == nil && c.MaxTxRate == nil {
		return nil, nil
	}
	r := &bond.VFRate{}
	for _, bound := range []struct {
		name string
		from *int
		to   *uint32
	}{{"min_tx_rate", c.MinTxRate, &r.Min}, {"max_tx_rate", c.MaxTxRate, &r.Max}} {
		if bound.from == nil {
			continue
		}
		if *bound.from < 0 || *bound.from > 1<<31-1 {
			return nil, fmt.Errorf("%s: %d is not a rate in Mbit/s", bound.name, *bound.from)
		}
		*bound.to = uint32(*bound.from)
	}
	return r, nil
}

func onOff(name, value string) (*bool, error) {
	switch strings.ToLower(value) {
	case "":
		return nil, nil
	case "on":
		return new(true), nil
	case "off":
		return new(false), nil
	}
	return nil, fmt.Errorf("%s: %.64q is neither on nor off", name, value)
}

// linkState returns IFLA_VF_LINK_STATE_* for sriov-cni's names.
func linkState(value string) (*uint32, error) {
	for n, name := range []string{"auto", "enable", "disable"} {
		if strings.EqualFold(value, name) {
			return new(uint32(n)), nil
		}
	}
	if value != "" {
		return nil, fmt.Errorf("link_state: %.64q is not auto, enable or disable", value)
	}
	return nil, nil
}
