package linktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// partnerMAC is the system of the switch to which all members are connected.
const partnerMAC bond.MAC = "02:00:5e:00:00:01"

// The port states that a partner sends in mode 802.3ad, and that the driver assumes if none responds
// (ad_initialize_port).
const (
	portInUse     bond.PortState = 0x3f
	portNoPartner bond.PortState = 0x02
)

// Silence makes nothing respond behind a member any more: neither the targets of an ARP monitor nor an LACP partner.
func (f *Fake) Silence(path, name string) error {
	return f.onNamedLink(path, name, func(d *netdev) error { d.silent = true; return nil })
}

// EndSilence ends Silence.
func (f *Fake) EndSilence(path, name string) error {
	return f.onNamedLink(path, name, func(d *netdev) error { d.silent = false; return nil })
}

// aggregators returns the members that have joined each aggregator, the active one first (ad_port_selection_logic,
// ad_agg_selection_logic). All ports with a partner share one, each without has its own.
func (b *bonding) aggregators() [][]*netdev {
	var shared []*netdev
	var individual [][]*netdev
	for _, m := range b.members {
		switch {
		case !m.linkState || !m.carrier():
		case m.silent:
			individual = append(individual, []*netdev{m})
		default:
			shared = append(shared, m)
		}
	}
	if shared == nil {
		return individual
	}
	return append([][]*netdev{shared}, individual...)
}

// aggregatorID counts from 1, in the order of enslaving.
func (b *bonding) aggregatorID(ports []*netdev) int { return slices.Index(b.members, ports[0]) + 1 }

// activeAggregator is IFLA_BOND_AD_INFO.
func (b *bonding) activeAggregator() *bond.Aggregator {
	all := b.aggregators()
	if b.opts.Mode() != bond.Mode8023AD || len(all) == 0 {
		return nil
	}
	a := &bond.Aggregator{ID: b.aggregatorID(all[0]), Ports: len(all[0]), Partner: partnerMAC}
	if all[0][0].silent {
		a.Partner = "00:00:00:00:00:00"
	}
	return a
}

// Aggregator reads the active aggregator of the record's bond.
func (f *Fake) Aggregator(ctx context.Context, r *bond.Record) (*bond.Aggregator, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pod, err := f.pod(r)
	if err != nil || ctx.Err() != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	b := findBond(pod, r)
	if b == nil {
		return nil, fmt.Errorf("bond %s: %w", r.BondName(), bond.ErrGone)
	}
	return b.bond.activeAggregator(), nil
}

// portOf returns a member's port; nil if the mode is not 802.3ad.
func (b *bonding) portOf(m *netdev) *bond.Port {
	if b.opts.Mode() != bond.Mode8023AD {
		return nil
	}
	p := &bond.Port{Partner: portInUse}
	if m.silent {
		p.Partner = portNoPartner
	}
	for i, ports := range b.aggregators() {
		if slices.Contains(ports, m) {
			p.Aggregator, p.Active = b.aggregatorID(ports), i == 0
		}
	}
	return p
}

// aggregatorCarries is bond_3ad_set_carrier.
func (b *bonding) aggregatorCarries() bool {
	all := b.aggregators()
	minLinks, _ := strconv.Atoi(b.opts[bond.OptMinLinks])
	return len(all) > 0 && len(all[0]) >= minLinks
}
