package plan_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// caseObserved is the section "observed". What it leaves out is as in a healthy bond of the case's record.
type caseObserved struct {
	Sandbox        string              `json:"sandbox"` // "alive" or "gone"
	Bond           *caseBond           `json:"bond"`
	NameHolder     *bond.Link          `json:"nameHolder"`
	UnknownMembers []bond.Link         `json:"unknownMembers"`
	Master         *bond.Link          `json:"master"` // the link in the pod that the record's learned master names
	Net1           *caseObservedMember `json:"net1"`
	Net2           *caseObservedMember `json:"net2"`
	Net3           *caseObservedMember `json:"net3"`
}

type caseBond struct {
	bond.Link
	Options          bond.Options   `json:"options"`
	Active           string         `json:"active"`
	Unread           string         `json:"unread"`
	WasDown          bool           `json:"wasDown"`
	MissingAddresses []netip.Prefix `json:"missingAddresses"`
	MoreAddresses    []netip.Prefix `json:"moreAddresses"`
	Transient        []netip.Prefix `json:"transient"`
	Tentative        []netip.Prefix `json:"tentative"`
	Duplicates       []netip.Prefix `json:"duplicates"`
	MissingRoutes    []netip.Prefix `json:"missingRoutes"`
	MoreRoutes       []bond.Route   `json:"moreRoutes"`
	// The numbers of additional ones, which the kernel reports first: 10.9.x.x/32 each.
	ManyAddresses    int          `json:"manyAddresses"`
	ManyTransient    int          `json:"manyTransient"`
	ManyRoutes       int          `json:"manyRoutes"`
	ManyDaemonRoutes int          `json:"manyDaemonRoutes"`
	SpecialRoutes    int          `json:"specialRoutes"` // and as many of a daemon
	Settings         caseSettings `json:"settings"`
	Upper            *bond.Upper  `json:"enslavedTo"`
	// Aggregator and a member's Port are set in mode 802.3ad only.
	Aggregator *bond.Aggregator `json:"aggregator"`
}

type caseObservedMember struct {
	bond.Link
	Location string `json:"location"` // "pod", "host" or "lost"
	MIIUp    *bool  `json:"miiUp"`    // as the link's carrier
	bond.MemberOptions
	Settings        caseSettings     `json:"settings"`
	NameHolder      *bond.Link       `json:"nameHolder"`
	TempNameHolder  *bond.Link       `json:"tempNameHolder"`
	PF              *bond.ObservedPF `json:"pf"`
	PFSettings      *bond.VFSettings `json:"pfSettings"`
	PFSettingsError string           `json:"pfSettingsError"`
	ForeignClaim    string           `json:"foreignClaim"`
	Ownership       bond.Ownership   `json:"ownership"`
	OwnershipReason string           `json:"ownershipReason"`
	Ambiguous       string           `json:"ambiguous"`
	OtherRecord     string           `json:"otherRecord"`
	Port            *bond.Port       `json:"port"`
	Driver          string           `json:"driver"`
}

// members are in the record's order; nil where the record has none.
func (c *caseObserved) members() []**caseObservedMember {
	return []**caseObservedMember{&c.Net1, &c.Net2, &c.Net3}
}

// readObserved applies a case's section to a healthy bond of the record. listed is what the bounds left out.
func readObserved(text []byte, rec *bond.Record) (obs bond.Observed, listed string, err error) {
	// The section is read twice, because a member's place determines its fields.
	first := &caseObserved{Bond: healthyBond(rec)}
	for i := range rec.Members {
		*first.members()[i] = &caseObservedMember{Location: "pod", Link: bond.Link{Master: first.Bond.Index}}
	}
	if err = decode(text, first); err != nil {
		return obs, "", err
	}
	c := &caseObserved{Sandbox: "alive", Bond: healthyBond(rec)}
	for i := range rec.Members {
		m := *first.members()[i]
		*c.members()[i] = healthyMember(rec.Clone(), i, m.Location, first.Bond != nil && m.Master == first.Bond.Index)
	}
	if err = decode(text, c); err != nil {
		return obs, "", err
	}
	obs = bond.Observed{SandboxAlive: c.Sandbox == "alive", NameHolder: c.NameHolder, UnknownMembers: c.UnknownMembers, Upper: c.Master}
	if c.Sandbox != "alive" && c.Sandbox != "gone" {
		return obs, "", fmt.Errorf("sandbox is %q, not alive or gone", c.Sandbox)
	}
	for i := range rec.Members {
		var m bond.ObservedMember
		if m, err = (*c.members()[i]).observed(); err != nil {
			return obs, "", fmt.Errorf("%s: %w", rec.Members[i].Name, err)
		}
		obs.Members = append(obs.Members, m)
	}
	if c.Bond != nil && obs.SandboxAlive {
		obs.Bond, listed, err = c.Bond.observed(rec, &obs)
	}
	return obs, listed, err
}

func healthyBond(rec *bond.Record) *caseBond {
	b := &caseBond{
		Link:    bond.Link{Index: 5, Name: rec.BondName(), Kind: "bond", MAC: rec.Spec.MAC, MTU: rec.Spec.MTU, Up: true, Carrier: true},
		Options: rec.Spec.Options.Effective(), Active: "(the first that carries)",
	}
	if rec.Spec.Options.Mode() == bond.Mode8023AD {
		b.Aggregator = &bond.Aggregator{ID: 1, Ports: len(rec.Members), Partner: "02:00:00:00:0a:01"}
	}
	if rec.Learned != nil && rec.Learned.Upper != nil {
		b.Upper = new(*rec.Learned.Upper)
	}
	return b
}

// healthyMember is a member in the bond, or one that was lost from it. The record is a copy.
func healthyMember(rec *bond.Record, i int, location string, enslaved bool) *caseObservedMember {
	r := &rec.Members[i]
	m := &caseObservedMember{Location: location, Ownership: bond.Owned, Link: bond.Link{
		Index: 11 + i, Name: r.Name, Kind: r.Kind, PCI: r.PCI, PermMAC: r.PermMAC, Serial: r.Serial, Alias: r.Original.Alias,
		MAC: r.Original.MAC, MTU: r.Original.MTU,
	}}
	if r.SriovCNI == nil {
		m.Ownership = bond.OwnerUnknown
	}
	if r.VF != nil {
		m.PF = &bond.ObservedPF{Name: fmt.Sprintf("ens%d", i+1), Index: 2 + i, MTU: 9000, Up: true, Carrier: true, VF: r.VF.Settings}
	}
	switch {
	case location == "host":
		m.Index, m.Name = 31+i, fmt.Sprintf("eth%d", i+1)
	case location == "pod" && enslaved:
		m.MTU, m.Up, m.Carrier, m.Master = rec.Spec.MTU, true, true, 5
		m.MAC = r.MAC
		if rec.Spec.Options.SharesMAC() && !rec.Spec.Options.SwapsMACs() {
			m.MAC = rec.Spec.MAC
		}
		m.QueueID, m.Prio = new(uint16), new(r.Priority())
		if rec.Spec.Options.Mode() == bond.Mode8023AD {
			m.Port = &bond.Port{Aggregator: 1, Active: true, Partner: 0x3f}
			m.ActorPortPrio = cmp.Or(r.ActorPortPrio, new(uint16(bond.DefaultActorPortPrio)))
		}
		if r.QueueID != nil {
			*m.QueueID = *r.QueueID
		}
	}
	return m
}

func (c *caseObservedMember) observed() (bond.ObservedMember, error) {
	place, known := map[string]bond.Location{"pod": bond.InPod, "host": bond.InHost, "lost": bond.Lost}[c.Location]
	if !known {
		return bond.ObservedMember{}, fmt.Errorf("location is %q, not pod, host or lost", c.Location)
	}
	m := bond.ObservedMember{
		Location: place, Link: c.Link, MIIUp: c.Carrier && c.Master != 0, MemberOptions: c.MemberOptions, Settings: newLinkSettings(),
		NameHolder: c.NameHolder, TempNameHolder: c.TempNameHolder, PF: c.PF, PFSettings: c.PFSettings, PFSettingsError: c.PFSettingsError, ForeignClaim: c.ForeignClaim, Ownership: c.Ownership, OwnershipReason: c.OwnershipReason,
		Ambiguous: c.Ambiguous, OtherRecord: c.OtherRecord, Port: c.Port, Driver: c.Driver,
	}
	if c.MIIUp != nil {
		m.MIIUp = *c.MIIUp
	}
	if place == bond.Lost {
		m.Link = bond.Link{}
	}
	return m, c.Settings.apply(&m.Settings)
}

func (c *caseBond) observed(rec *bond.Record, obs *bond.Observed) (o *bond.ObservedBond, listed string, err error) {
	for name, value := range c.Options {
		switch {
		case bond.LookupOption(name) == nil:
			return nil, "", fmt.Errorf("no bonding option %q", name)
		case value == "":
			delete(c.Options, name)
		}
	}
	o = &bond.ObservedBond{Link: c.Link, Options: c.Options, Unread: c.Unread, WasDown: c.WasDown, Settings: newLinkSettings(), Upper: c.Upper, Aggregator: c.Aggregator}
	if err = c.Settings.apply(&o.Settings); err != nil {
		return nil, "", err
	}
	o.HasMembers = len(obs.UnknownMembers) > 0
	for i := range obs.Members {
		m := &obs.Members[i]
		if m.Location != bond.InPod || m.Link.Master != o.Index {
			continue
		}
		o.HasMembers = true
		if c.Active == rec.Members[i].Name || strings.HasPrefix(c.Active, "(") && o.Active == 0 && m.MIIUp && o.Up {
			o.Active = m.Link.Index
		}
	}
	if o.Active == 0 && c.Active != "none" && !strings.HasPrefix(c.Active, "(") {
		return nil, "", fmt.Errorf("active is %q, which is not in the bond", c.Active)
	}
	if c.Unread == "" {
		listed, err = c.network(rec, o)
	}
	return o, listed, err
}

// network fills in addresses and routes as an observation does, with its bounds.
func (c *caseBond) network(rec *bond.Record, o *bond.ObservedBond) (listed string, err error) {
	addresses := c.addresses(rec)
	routes, err := c.routes(rec, addresses)
	if err != nil {
		return "", err
	}
	for range 2 { // the kernel has interrupted the first dump
		list := plan.NewAddressList(rec, o)
		for i, p := range addresses {
			list.Add(plan.ObservedAddress{
				Prefix: p, Transient: i < c.ManyTransient || slices.Contains(c.Transient, p), Tentative: slices.Contains(c.Tentative, p), Duplicate: slices.Contains(c.Duplicates, p),
			})
		}
		routeList := plan.NewRouteList(rec, o)
		for _, r := range routes {
			routeList.Add(r)
		}
	}
	var lines []string
	if n := len(o.Addresses); n != len(addresses) {
		lines = append(lines, fmt.Sprintf("%d of %d addresses, %d counted", n, len(addresses), o.AddressesLeft))
	}
	if n := len(o.Routes); n != len(routes) {
		lines = append(lines, fmt.Sprintf("%d of %d routes, %d counted", n, len(routes), o.RoutesLeft))
	}
	return joined(lines), nil
}

func (c *caseBond) addresses(rec *bond.Record) []netip.Prefix {
	var all []netip.Prefix
	for i := range c.ManyTransient + c.ManyAddresses {
		all = append(all, many(i))
	}
	for _, a := range rec.Addresses {
		all = append(all, a.Prefix)
	}
	if rec.Learned != nil {
		all = append(all, rec.Learned.Addresses...)
	}
	all = slices.DeleteFunc(all, func(p netip.Prefix) bool { return slices.Contains(c.MissingAddresses, p) })
	return append(all, c.MoreAddresses...)
}

func many(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 32)
}

// routes are the kernel's own for the addresses, those of the record, and more. A bond that is down has none.
func (c *caseBond) routes(rec *bond.Record, addresses []netip.Prefix) ([]bond.Route, error) {
	const kernel, boot, daemon, linkScope, metric6 = 2, 3, 12, 253, 1024
	if !c.Up {
		return nil, nil
	}
	var all []bond.Route
	for i := range c.ManyRoutes + c.ManyDaemonRoutes {
		r := bond.Route{Dst: many(i), Proto: boot, Scope: new(linkScope)}
		if i >= c.ManyRoutes {
			r.Proto = daemon
		}
		all = append(all, r)
	}
	for i := range c.SpecialRoutes {
		all = append(all, bond.Route{Dst: many(i), Proto: boot, Special: true}, bond.Route{Dst: many(i), Proto: daemon, Special: true})
	}
	for _, p := range addresses {
		moved := rec.Learned != nil && slices.Contains(rec.Learned.NoPrefixRoute, p)
		if p.IsSingleIP() || moved {
			continue
		}
		r := bond.Route{Dst: p.Masked(), Proto: kernel, Scope: new(linkScope), Src: p.Addr()}
		if p.Addr().Is6() {
			r.Priority, r.Scope, r.Src = 256, nil, netip.Addr{}
		}
		all = append(all, r)
	}
	desired := slices.Clone(rec.Routes)
	if rec.Learned != nil {
		desired = append(desired, rec.Learned.Routes...)
	}
	for _, r := range desired {
		r.Dst = r.Dst.Masked()
		if r.Proto == 0 {
			r.Proto = boot
		}
		if r.Priority == 0 && r.Dst.Addr().Is6() {
			r.Priority = metric6
		}
		all = append(all, r)
	}
	for _, dst := range c.MissingRoutes {
		n := len(all)
		if all = slices.DeleteFunc(all, func(r bond.Route) bool { return r.Dst == dst }); len(all) == n {
			return nil, fmt.Errorf("no route to %s that the bond could lack", dst)
		}
	}
	return append(all, c.MoreRoutes...), nil
}
