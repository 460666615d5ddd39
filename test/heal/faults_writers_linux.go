package heal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
	"github.com/bondkeeper/bondkeeper/test/sriovstub"
)

// defaultRouteElsewhere deletes the bond's default route after ADD, as Multus does if the pod selects another network
// for it.
func defaultRouteElsewhere(ctx context.Context, s *faultRun) error {
	c := s.r.brief
	return s.withBrief(ctx, func() error {
		if err := ip(ctx, "-n %s route del default dev %s", c.Name, BondName); err != nil {
			return err
		}
		s.logf("pod %s has its default route elsewhere", c.Name)
		if err := s.bondDeleted(ctx, c); err != nil {
			return err
		}
		s.result.Outcome = "healed, without the route"
		return nil
	})
}

// chain is the OKD page's bond with two chained plugins.
func chain() ([]byte, error) {
	var bond map[string]any
	if err := json.Unmarshal(okdConfig, &bond); err != nil {
		return nil, err
	}
	tuning := map[string]any{
		"type": "tuning", "mtu": 1400, "txQLen": 1234,
		"sysctl": map[string]string{"net.ipv4.conf.IFNAME.arp_notify": "1", "net.ipv4.conf.IFNAME.rp_filter": "2", "net.ipv4.neigh.IFNAME.ucast_solicit": "4"},
	}
	return json.Marshal(map[string]any{
		"cniVersion": "1.0.0", "name": bond["name"], "plugins": []any{bond, tuning, map[string]any{"type": "sbr"}},
	})
}

func chainDeleted(ctx context.Context, s *faultRun) error {
	c := s.r.brief
	config, err := chain()
	if err != nil {
		return err
	}
	c.chain = config
	defer func() { c.chain = nil }()
	return s.withBrief(ctx, func() error {
		want := map[string]string{BondName + " mtu": "1400", BondName + " txqlen": "1234", BondName + " sysctl ipv4/conf arp_notify": "1", BondName + " sysctl ipv4/neigh ucast_solicit": "4"}
		now, err := c.snapshot(ctx)
		if err != nil {
			return err
		}
		for name, value := range want {
			if now[name] != value {
				return fmt.Errorf("the chain left %s: %s, want %s", name, now[name], value)
			}
		}
		return s.bondDeleted(ctx, c)
	})
}

// bondDeleted waits until the pod's set-up is complete and deletes its bond. Everything that set-up made must be
// restored, and nothing else.
func (s *faultRun) bondDeleted(ctx context.Context, c *Pod) error {
	if err := s.r.baselineOf(ctx, c); err != nil {
		return err
	}
	if _, _, err := s.r.log.await(ctx, c.added, func(l Line) bool { return l.Msg == "pod set-up complete" && c.is(l) }); err != nil {
		return errWaited("the end of the set-up of pod "+c.Name, err)
	}
	if err := s.r.awaitBaseline(ctx, c); err != nil {
		return fmt.Errorf("before the loss: %w", err)
	}
	if err := s.fault("ip link del bond0", func() error { return ip(ctx, "-n %s link del bond0", c.Name) }); err != nil {
		return err
	}
	if err := s.seesLoss(ctx, c); err != nil {
		return err
	}
	if err := s.awaitRecovery(ctx, c); err != nil {
		return err
	}
	if err := s.quiet(ctx, time.Second); err != nil {
		return err
	}
	return s.r.awaitBaseline(ctx, c)
}

// pfSettings changes on the PF what sriov-cni was asked for. The kernel reports no event, so a resync finds it.
func pfSettings(ctx context.Context, s *faultRun) error {
	c := s.r.brief
	c.sriov = &sriovstub.Plugin{}
	defer func() { c.sriov = nil }()
	return s.withBrief(ctx, func() error {
		if err := s.r.baselineOf(ctx, c); err != nil {
			return err
		}
		vf := c.members[0]
		pf, err := s.r.cards[vf.card].pf()
		if err != nil {
			return err
		}
		err = s.fault("VLAN and trust of net1 ("+vf.pci+") are changed on its PF", func() error {
			return ip(ctx, "link set %s vf %d vlan 42 trust off", pf, vf.number)
		})
		if err != nil {
			return err
		}
		if err := s.seesLoss(ctx, c); err != nil {
			return err
		}
		return s.awaitRecovery(ctx, c)
	})
}

// releasedVF runs sriov-cni's DEL for a VF of a bond that got no DEL, and gives the VF to another tenant.
func releasedVF(ctx context.Context, s *faultRun) error {
	c := s.r.brief
	c.sriov = &sriovstub.Plugin{}
	defer func() { c.sriov = nil }()
	return s.withBrief(ctx, func() error {
		vf := c.members[0]
		if err := s.r.baselineOf(ctx, c); err != nil {
			return err
		}
		err := s.fault("sriov-cni's DEL for net1 ("+vf.pci+"), without a DEL of the bond; the next tenant has VLAN 42", func() error {
			if err := c.sriov.Del(c.sriovArgs(vf)); err != nil {
				return err
			}
			return ip(ctx, "link set %s vf %d vlan 42", s.r.cards[vf.card].PF.Name, vf.number)
		})
		if err != nil {
			return err
		}
		reported, err := s.sees(ctx, "a report of the released VF", func(l Line) bool {
			return l.Msg == "bond state changed" && c.is(l) && l.State == "Degraded" && strings.Contains(l.Reason, vf.pci)
		})
		if err != nil {
			return err
		}
		s.logf("the agent reports after %s: %s", short(s.result.Detected), reported.Reason)
		if err = s.quiet(ctx, 2*time.Second); err != nil {
			return err
		}
		if _, err = topology.Netdev(vf.pci); err != nil {
			return fmt.Errorf("the VF should be in the host: %w", err)
		}
		now, err := c.snapshot(ctx)
		if err != nil {
			return err
		}
		if vlans := now["net1 on its PF: vlan_list"] + now["net1 on its PF: vlan"]; !strings.Contains(vlans, "42") {
			return fmt.Errorf("the next tenant's VLAN was changed: %s", vlans)
		}
		s.result.Outcome = "reported, left to its owner"
		return nil
	})
}

// withBrief makes the third pod, calls play, and deletes the pod in any case.
func (s *faultRun) withBrief(ctx context.Context, play func() error) error {
	c := s.r.brief
	if err := c.prepareVFs(ctx); err != nil { // they may have been reset with their card since the start
		return err
	}
	err := c.add(ctx)
	if err == nil {
		err = play()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	err = errors.Join(err, c.del(ctx), ip(ctx, "netns del %s", c.Name))
	for _, m := range c.members {
		err = errors.Join(err, s.inHost(ctx, m.pci))
	}
	return errors.Join(err, s.r.restoreNames(ctx))
}

// baselineOf waits until all members of a new bond count as up, and stores the pod's state as its baseline.
func (r *Fixture) baselineOf(ctx context.Context, p *Pod) error {
	_, err := r.until(ctx, p, func(s snapshot) []string {
		p.baseline = s
		want := snapshot{}
		have := snapshot{}
		for _, m := range p.members {
			for what, value := range map[string]string{"MII status": "up", "carrier": "true", "master": BondName} {
				want[m.name+" "+what], have[m.name+" "+what] = value, s[m.name+" "+what]
			}
		}
		return have.diff(want)
	})
	return err
}

// sriovArgs are the arguments for one VF's attachment.
func (p *Pod) sriovArgs(m member) sriovstub.Args {
	return sriovstub.Args{ContainerID: p.id, Netns: p.netns(), IfName: m.name}
}

// sriovConfig is a config of sriov-cni with the settings that VFs of host-device get by hand.
func (p *Pod) sriovConfig(m member) []byte {
	s := p.settings(m)
	return fmt.Appendf(nil, `{"cniVersion": "0.3.1", "name": "sriov-%s", "type": "sriov", "deviceID": %q, "mac": %q, "vlan": %d, "trust": %q, "spoofchk": %q}`,
		m.name, m.pci, s.mac, s.vlan, s.trust, s.spoofchk)
}
