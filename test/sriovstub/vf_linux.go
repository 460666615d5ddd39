package sriovstub

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// fillOriginal is FillOriginalVfInfo: the VF's settings on the PF, and the VF's MTU.
func (c *NetConf) fillOriginal() error {
	pf, err := c.pf()
	if err != nil {
		return err
	}
	vf, err := netlink.LinkByName(c.OrigVfState.HostIFName)
	if err != nil {
		return fmt.Errorf("failed to lookup vf %q: %w", c.OrigVfState.HostIFName, err)
	}
	for _, v := range pf.Attrs().Vfs {
		if v.ID != c.VFID {
			continue
		}
		c.OrigVfState = VFState{
			HostIFName: c.OrigVfState.HostIFName, SpoofChk: v.Spoofchk, Trust: v.Trust != 0, AdminMAC: v.Mac.String(),
			Vlan: v.Vlan, VlanQoS: v.Qos, VlanProto: v.VlanProto, MinTxRate: int(v.MinTxRate), MaxTxRate: int(v.MaxTxRate),
			LinkState: v.LinkState, MTU: vf.Attrs().MTU,
		}
		return nil
	}
	return fmt.Errorf("failed to find vf %d", c.VFID)
}

func vlanProto(name string) int {
	if name == "802.1ad" {
		return 0x88a8
	}
	return 0x8100
}

// applyVF is ApplyVFConfig: the requested settings on the PF, in its order.
func (c *NetConf) applyVF() error {
	pf, err := c.pf()
	if err != nil {
		return err
	}
	if c.VLAN != nil {
		if err := netlink.LinkSetVfVlanQosProto(pf, c.VFID, *c.VLAN, *c.VLANQoS, vlanProto(*c.VLANProto)); err != nil {
			return fmt.Errorf("failed to set vf %d vlan configuration: %w", c.VFID, err)
		}
	}
	if c.MAC != "" {
		if err := c.setAdminMAC(c.MAC); err != nil {
			return err
		}
	}
	if c.MinTxRate != nil || c.MaxTxRate != nil {
		if err := netlink.LinkSetVfRate(pf, c.VFID, value(c.MinTxRate), value(c.MaxTxRate)); err != nil {
			return err
		}
	}
	if c.SpoofChk != "" {
		if err := netlink.LinkSetVfSpoofchk(pf, c.VFID, c.SpoofChk == "on"); err != nil {
			return err
		}
	}
	if c.Trust != "" {
		if err := netlink.LinkSetVfTrust(pf, c.VFID, c.Trust == "on"); err != nil {
			return err
		}
	}
	if c.LinkState != "" {
		state := map[string]uint32{"auto": 0, "enable": 1, "disable": 2}[c.LinkState]
		if err := netlink.LinkSetVfState(pf, c.VFID, state); err != nil {
			return fmt.Errorf("failed to set vf %d link state to %d: %w", c.VFID, state, err)
		}
	}
	c.MTU = new(pf.Attrs().MTU)
	return nil
}

// resetVF is ResetVFConfig: only requested settings are restored; in Unreleased always the administrative MAC, too.
func (c *NetConf) resetVF() error {
	pf, err := c.pf()
	if err != nil {
		return err
	}
	o := c.OrigVfState
	if o.VlanProto == 0 {
		o.VlanProto = vlanProto("")
	}
	if c.VLAN != nil {
		if err := netlink.LinkSetVfVlanQosProto(pf, c.VFID, o.Vlan, o.VlanQoS, o.VlanProto); err != nil {
			return err
		}
	}
	if c.SpoofChk != "" {
		if err := netlink.LinkSetVfSpoofchk(pf, c.VFID, o.SpoofChk); err != nil {
			return err
		}
	}
	if c.MAC != "" || c.release == Unreleased && o.AdminMAC != "" {
		if err := c.setAdminMAC(o.AdminMAC); err != nil {
			return err
		}
	}
	if c.Trust != "" {
		if err := netlink.LinkSetVfTrust(pf, c.VFID, o.Trust); err != nil {
			return err
		}
	}
	if c.MinTxRate != nil || c.MaxTxRate != nil {
		if err := netlink.LinkSetVfRate(pf, c.VFID, o.MinTxRate, o.MaxTxRate); err != nil {
			return err
		}
	}
	if c.LinkState != "" {
		return netlink.LinkSetVfState(pf, c.VFID, o.LinkState)
	}
	return nil
}

// setupVF is SetupVF. The VF is in the pod under a temporary name first. In Unreleased it goes through a temporary
// netns and has its final name from the start; a move with a name in one request looks the same from both sides.
func (c *NetConf) setupVF(pod *netns.NS, name string) error {
	l, err := netlink.LinkByName(c.OrigVfState.HostIFName)
	if err != nil {
		return err
	}
	c.OrigVfState.EffectiveMAC = l.Attrs().HardwareAddr.String()
	if c.release == Unreleased {
		err = moveAs(l, pod, name)
	} else {
		err = c.moveByTempName(l, pod, name)
	}
	if err != nil {
		return err
	}
	c.MTU = new(l.Attrs().MTU)
	return pod.Do(func() error {
		// EnableArpAndNdiscNotify and EnableOptimisticDad; errors are ignored.
		for _, sysctl := range []string{"ipv4/conf/" + name + "/arp_notify", "ipv6/conf/" + name + "/ndisc_notify", "ipv6/conf/" + name + "/optimistic_dad"} {
			_ = os.WriteFile(filepath.Join("/proc/sys/net", sysctl), []byte("1"), 0)
		}
		in, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if c.MAC != "" {
			if err := setEffectiveMAC(in, c.MAC); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(in)
	})
}

// moveByTempName sets the link down, renames it to temp_<ifindex>, removes the altname that equals its name in the
// host, moves it into the pod, and renames it to its name there.
func (c *NetConf) moveByTempName(l netlink.Link, pod *netns.NS, name string) error {
	temp := fmt.Sprintf("temp_%d", l.Attrs().Index)
	if err := errors.Join(netlink.LinkSetDown(l), netlink.LinkSetName(l, temp)); err != nil {
		return err
	}
	l, err := netlink.LinkByName(temp)
	if err != nil {
		return err
	}
	for _, alt := range l.Attrs().AltNames {
		if alt == c.OrigVfState.HostIFName {
			if err := netlink.LinkDelAltName(l, alt); err != nil {
				return err
			}
		}
	}
	if err := netlink.LinkSetNsFd(l, pod.Fd()); err != nil {
		return err
	}
	return pod.Do(func() error { return netlink.LinkSetName(l, name) })
}

// releaseVF is ReleaseVF: down, the host's name, MAC and MTU, and only then the move back to the host.
func (c *NetConf) releaseVF(pod *netns.NS, name string) error {
	host, err := netns.Current()
	if err != nil {
		return err
	}
	defer func() { _ = host.Close() }()
	return pod.Do(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("failed to get netlink device with name %s: %w", name, err)
		}
		if err := errors.Join(netlink.LinkSetDown(l), netlink.LinkSetName(l, c.OrigVfState.HostIFName)); err != nil {
			return err
		}
		if c.MAC != "" || c.release == Unreleased && c.OrigVfState.EffectiveMAC != "" {
			if err := setEffectiveMAC(l, c.OrigVfState.EffectiveMAC); err != nil {
				return fmt.Errorf("failed to restore original effective netlink MAC address %s: %w", c.OrigVfState.EffectiveMAC, err)
			}
		}
		if c.OrigVfState.MTU != 0 {
			if err := netlink.LinkSetMTU(l, c.OrigVfState.MTU); err != nil {
				return err
			}
		}
		return netlink.LinkSetNsFd(l, host.Fd())
	})
}

// moveAs moves a link and renames it in one request.
func moveAs(l netlink.Link, to *netns.NS, name string) error {
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(l.Attrs().Index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(to.Fd()))))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// setEffectiveMAC is SetVFEffectiveMAC: up to 20 attempts, 100 ms apart, each read back.
func setEffectiveMAC(l netlink.Link, mac string) error {
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return err
	}
	return retry(func() error {
		if err := netlink.LinkSetHardwareAddr(l, hw); err != nil {
			return err
		}
		now, err := netlink.LinkByIndex(l.Attrs().Index)
		if err == nil && now.Attrs().HardwareAddr.String() != mac {
			err = errors.New("effective mac address is different from requested one")
		}
		return err
	})
}

// setAdminMAC is SetVFHardwareMAC.
func (c *NetConf) setAdminMAC(mac string) error {
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return err
	}
	return retry(func() error {
		pf, err := c.pf()
		if err != nil {
			return err
		}
		if err = netlink.LinkSetVfHardwareAddr(pf, c.VFID, hw); err != nil {
			return err
		}
		if pf, err = c.pf(); err != nil {
			return err
		}
		if vfs := pf.Attrs().Vfs; c.VFID >= len(vfs) || vfs[c.VFID].Mac.String() != mac {
			return errors.New("hardware mac address is different from requested one")
		}
		return nil
	})
}

// retry is Retry with the arguments of its two callers.
func retry(do func() error) error {
	var err error
	for range 20 {
		if err = do(); err == nil {
			return nil
		}
		<-time.After(100 * time.Millisecond)
	}
	return err
}

func value(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}
