package link

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// notReported is the kernel's value of a flag that the driver does not report (rtnl_fill_vfinfo).
const notReported = 1<<32 - 1

// vfSettings decodes a PF's settings of one VF. The netlink library treats a flag that the
// driver does not report as set, so it is not used here. bond.ErrGone: the PF has no such VF, or not yet.
func (d *device) vfSettings(number int) (bond.VFSettings, error) {
	all, err := d.allVFSettings()
	if err != nil {
		return bond.VFSettings{}, err
	}
	s, found := all[number]
	switch {
	case found:
		return s, nil
	case number < d.numVFs:
		return s, fmt.Errorf("%w: PF %s has %d VFs and reports nothing about VF %d", errIncompleteVFList, d.Name, d.numVFs, number)
	}
	return s, fmt.Errorf("%w: PF %s does not report a VF %d", bond.ErrGone, d.Name, number)
}

// allVFSettings decodes a PF's settings of its VFs, by number.
func (d *device) allVFSettings() (map[int]bond.VFSettings, error) {
	all := map[int]bond.VFSettings{}
	err := eachAttr(d.vfList, func(typ uint16, v []byte) error {
		if typ != nl.IFLA_VF_INFO {
			return nil
		}
		s, vf, err := parseVF(v)
		all[vf] = s
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("VF settings of PF %s: %w", d.Name, err)
	}
	return all, nil
}

// parseVF decodes one IFLA_VF_INFO. Each attribute in it is a structure that begins with
// the VF's number and continues with numbers of 32 bits.
func parseVF(info []byte) (s bond.VFSettings, vf int, err error) {
	vf = -1
	err = eachAttr(info, func(typ uint16, v []byte) error {
		if typ == nl.IFLA_VF_VLAN_LIST {
			return eachAttr(v, func(_ uint16, v []byte) error {
				if len(v) >= 14 && s.VLAN != nil {
					s.VLAN.Proto = binary.BigEndian.Uint16(v[12:14])
				}
				return nil
			})
		}
		n := words(v)
		switch {
		case typ == nl.IFLA_VF_MAC && len(v) >= 10:
			vf, s.MAC = int(n[0]), new(bond.MACOf(v[4:10]))
		case typ == nl.IFLA_VF_VLAN && len(n) >= 3:
			s.VLAN = &bond.VLAN{ID: int(n[1]), QoS: int(n[2])}
		case typ == nl.IFLA_VF_RATE && len(n) >= 3:
			s.Rate = &bond.VFRate{Min: n[1], Max: n[2]}
		case typ == nl.IFLA_VF_SPOOFCHK && len(n) >= 2 && n[1] != notReported:
			s.SpoofChk = new(n[1] != 0)
		case typ == nl.IFLA_VF_TRUST && len(n) >= 2 && n[1] != notReported:
			s.Trust = new(n[1] != 0)
		case typ == nl.IFLA_VF_LINK_STATE && len(n) >= 2:
			s.LinkState = new(n[1])
		}
		return nil
	})
	return s, vf, err
}

func words(v []byte) []uint32 {
	n := make([]uint32, len(v)/4)
	for i := range n {
		n[i] = nl.NativeEndian().Uint32(v[4*i:])
	}
	return n
}

// vfAttr is one setting for RTM_SETLINK.
type vfAttr struct {
	what string
	typ  int
	data []byte
}

// vfAttrs returns the settings that are not nil, in the order in which they must be set: the VLAN first,
// so that nothing is sent outside it, and the link state last.
func vfAttrs(number int, s bond.VFSettings) []vfAttr {
	vf := uint32(number)
	var all []vfAttr
	add := func(what string, typ int, data []byte) { all = append(all, vfAttr{what, typ, data}) }
	if s.VLAN != nil {
		add(fmt.Sprintf("vlan %d", s.VLAN.ID), vlanAttr(s.VLAN), vlanData(vf, s.VLAN))
	}
	if s.MAC != nil {
		m := nl.VfMac{Vf: vf}
		copy(m.Mac[:], s.MAC.Bytes())
		add("mac "+string(*s.MAC), nl.IFLA_VF_MAC, m.Serialize())
	}
	if s.Rate != nil {
		r := nl.VfRate{Vf: vf, MinTxRate: s.Rate.Min, MaxTxRate: s.Rate.Max}
		add(fmt.Sprintf("rate %d to %d", s.Rate.Min, s.Rate.Max), nl.IFLA_VF_RATE, r.Serialize())
	}
	if s.SpoofChk != nil {
		add(fmt.Sprintf("spoofchk %t", *s.SpoofChk), nl.IFLA_VF_SPOOFCHK, (&nl.VfSpoofchk{Vf: vf, Setting: flag(*s.SpoofChk)}).Serialize())
	}
	if s.Trust != nil {
		add(fmt.Sprintf("trust %t", *s.Trust), nl.IFLA_VF_TRUST, (&nl.VfTrust{Vf: vf, Setting: flag(*s.Trust)}).Serialize())
	}
	if s.LinkState != nil {
		add(fmt.Sprintf("link state %d", *s.LinkState), nl.IFLA_VF_LINK_STATE, (&nl.VfLinkState{Vf: vf, LinkState: *s.LinkState}).Serialize())
	}
	return all
}

// ieee8021Q is the VLAN protocol of the older attribute, which every driver supports.
const ieee8021Q = 0x8100

func vlanAttr(v *bond.VLAN) int {
	if v.Proto == 0 || v.Proto == ieee8021Q {
		return nl.IFLA_VF_VLAN
	}
	return nl.IFLA_VF_VLAN_LIST
}

func vlanData(vf uint32, v *bond.VLAN) []byte {
	id, qos := uint32(v.ID), uint32(v.QoS)
	if vlanAttr(v) == nl.IFLA_VF_VLAN {
		return (&nl.VfVlan{Vf: vf, Vlan: id, Qos: qos}).Serialize()
	}
	info := make([]byte, nl.SizeofVfVlanInfo)
	copy(info, (&nl.VfVlan{Vf: vf, Vlan: id, Qos: qos}).Serialize())
	binary.BigEndian.PutUint16(info[nl.SizeofVfVlan:], v.Proto)
	return nl.NewRtAttr(nl.IFLA_VF_VLAN_INFO, info).Serialize()
}

func flag(on bool) uint32 {
	if on {
		return 1
	}
	return 0
}
