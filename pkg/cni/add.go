package cni

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// errDELStarted: a DEL of this bond was called while its ADD ran. DEL has precedence.
var errDELStarted = errors.New("overtaken by a DEL of this bond")

// Add creates the bond, or leaves nothing behind.
func (p *Plugin) Add(ctx context.Context, args *skel.CmdArgs) error {
	k, a, c, err := parse(args)
	if err != nil {
		return err
	}
	if slices.Contains(c.LinkNames(), k.IfName) {
		return netconf.Invalid("links", k.IfName, "links other than the bond itself, which has this name (CNI_IFNAME)")
	}
	s, err := p.open(c.StateDir, args.Path)
	if err != nil {
		return err
	}
	defer func() { _ = s.log.Sync() }()
	if err = bond.CheckKernel(s.KernelRelease); err != nil {
		return err
	}
	sandbox, err := s.sandbox(args.Netns)
	if err != nil {
		return err
	}
	unlock, err := s.lockAdd(ctx, k)
	if err != nil {
		return err
	}
	defer unlock()
	release := sync.OnceFunc(s.Kernel.Hold(sandbox))
	defer release()
	if err = s.clearLeftovers(ctx, k, sandbox); err != nil {
		return err
	}
	rec, err := s.prepare(ctx, k, sandbox, c, a, args)
	if err != nil {
		return err
	}
	for _, w := range rec.Warnings {
		s.log.Warn("config warning", zap.Stringer("bond", k), zap.Stringer("pod", rec.Pod), zap.String("warning", w))
	}
	out, err := s.start(ctx, rec)
	if out.Record == nil {
		return notStarted(err)
	}
	result, err := s.makeBond(ctx, rec, c, attempt{out, err}, release)
	if err == nil {
		err = s.print(result, c)
	}
	if err != nil {
		return s.rollback(ctx, rec, err)
	}
	return nil
}

// prepare collects everything that the record needs, and changes nothing.
func (s *session) prepare(ctx context.Context, k bond.Key, sandbox bond.Sandbox, c *Config, a Args, args *skel.CmdArgs) (*bond.Record, error) {
	found, err := s.search(ctx, bond.MemberQuery{
		Key: k, Sandbox: sandbox, Names: c.LinkNames(), InHost: !c.LinksInContainer, Wait: c.LinkTimeout,
	})
	if err == nil {
		err = missingLinks(&found, c)
	}
	switch {
	case errors.Is(err, bond.ErrBusy), ctx.Err() != nil:
		return nil, fmt.Errorf("links: %w", errors.Join(err, ctx.Err()))
	case err != nil:
		where := "the pod (linksInContainer is true)"
		if !c.LinksInContainer {
			where = "the host (linksInContainer is false)"
		}
		return nil, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("links: searched in %s: %v", where, err), "")
	}
	rec, err := newRecord(k, c, a, args, sandbox, &found)
	if err != nil {
		return nil, err
	}
	for _, i := range found.Missing() {
		s.log.Warn("starting without a link", zap.Stringer("bond", k), zap.Stringer("pod", a.Pod), zap.Error(found.Links[i].Missing))
	}
	return rec, s.ipam.Installed(rec) // before a bond is created in vain
}

// missingLinks returns the error for missing links; nil if the present ones are enough.
func missingLinks(found *bond.MemberResult, c *Config) error {
	var errs []error
	for _, i := range found.Missing() {
		errs = append(errs, found.Links[i].Missing)
	}
	if c.StartDegraded && len(errs) < len(found.Links) {
		return nil
	}
	return errors.Join(errs...)
}

// sandbox opens the pod's netns, which must not be the plugin's own: a mistyped path would
// bond the host's links.
func (s *session) sandbox(path string) (bond.Sandbox, error) {
	sandbox, err := s.Sandbox(path)
	if err != nil {
		return sandbox, types.NewError(types.ErrInvalidNetNS, fmt.Sprintf("CNI_NETNS: %v", err), "")
	}
	host, err := s.HostSandbox()
	if err != nil {
		return sandbox, err
	}
	if sameNetns(host, sandbox) {
		return sandbox, types.NewError(types.ErrInvalidNetNS, fmt.Sprintf("CNI_NETNS: %s is the host's own network namespace", path), "")
	}
	return sandbox, nil
}

// sameNetns compares what is known about both. The kernel reuses the inode number of a netns that has ended; the next
// one has another cookie.
func sameNetns(a, b bond.Sandbox) bool {
	return a.Dev == b.Dev && a.Inode == b.Inode &&
		(a.Cookie == 0 || b.Cookie == 0 || a.Cookie == b.Cookie) && (a.Boot == "" || b.Boot == "" || a.Boot == b.Boot)
}

// lockAdd prevents two ADDs of one bond from running at the same time: they would share one lease. The bond's own lock
// cannot be used, because a DEL and the agent must not wait for IPAM. With this lock held, a record that is not ready
// is that of a killed ADD, or is being deleted.
func (s *session) lockAdd(ctx context.Context, k bond.Key) (unlock func(), err error) {
	const maxID = 190 // bond.Key accepts 200 bytes; two IDs with the same beginning only wait for each other
	k.ContainerID = "add-" + k.ContainerID[:min(len(k.ContainerID), maxID)]
	return s.Store.Lock(ctx, k)
}

// clearLeftovers removes what a killed ADD of this bond has left. It runs before the search for the members, because
// they are in that ADD's bond.
func (s *session) clearLeftovers(ctx context.Context, k bond.Key, sandbox bond.Sandbox) error {
	old, err := s.Store.Load(k)
	switch {
	case errors.Is(err, bond.ErrNotFound):
		return nil
	case err != nil:
		return err
	case old.Phase == bond.PhaseReady && sameNetns(old.Sandbox, sandbox):
		return badEnv("CNI_CONTAINERID and CNI_IFNAME: bond %s was added to network %s at %s; DEL comes before another ADD",
			k, old.Network, old.Created.Format(time.RFC3339))
	}
	if err := s.engine.ReleaseRecord(ctx, old); err != nil {
		return fmt.Errorf("bond %s: remove what an earlier ADD left: %w", k, err)
	}
	return nil
}

// notStarted is the error of an ADD that has written no record.
func notStarted(err error) error {
	if errors.Is(err, bond.ErrExists) {
		return types.NewError(types.ErrTryAgainLater, fmt.Sprintf("%v: another ADD of it is running", err), "")
	}
	return err
}

// checkFree rejects names and links that are in use. Once the record exists, the engine treats them as the bond's.
func checkFree(rec *bond.Record, obs *bond.Observed) error {
	taken := obs.NameHolder
	if obs.Bond != nil {
		taken = &obs.Bond.Link
	}
	if taken != nil {
		return badEnv("CNI_IFNAME: the pod has a link %s already (ifindex %d, kind %q)", taken.Name, taken.Index, taken.Kind)
	}
	for i := range obs.Members {
		m, name := &obs.Members[i], rec.Members[i].String()
		switch {
		case m.Link.Master != 0:
			return netconf.Invalid("links", fmt.Sprintf("%s, which is enslaved to ifindex %d", name, m.Link.Master), "links that are free")
		case m.NameHolder != nil:
			return netconf.Invalid("links", name, fmt.Sprintf("links whose names are free in the pod; ifindex %d there has this one", m.NameHolder.Index))
		case m.ForeignClaim != "" && m.Location == bond.InHost:
			return netconf.Invalid("links", name, "links that are free; another plugin holds this one for netns "+m.ForeignClaim)
		}
	}
	return nil
}

// makeBond creates the bond with its addresses, after a first attempt, and returns the result of ADD. It calls release
// before it waits for another plugin: no netns is held meanwhile.
func (s *session) makeBond(ctx context.Context, rec *bond.Record, c *Config, first attempt, release func()) (*current.Result, error) {
	out, err := s.convergeFrom(ctx, rec, c, first)
	if err != nil {
		return nil, err
	}
	ipamResult := &current.Result{}
	if c.IPAM != "" {
		release()
		if ipamResult, out, err = s.addAddresses(ctx, rec, c); err != nil {
			return nil, err
		}
	}
	if out.Record.AnnounceDue && out.Observed.Bond.Carrier { // it came meanwhile
		if out, err = s.converge(ctx, rec, c); err != nil {
			return nil, err
		}
	}
	if err := s.markReady(ctx, rec, &out, resultDNS(c, ipamResult)); err != nil {
		return nil, err
	}
	return resultOf(rec, &out.Observed, c, ipamResult), nil
}

// addAddresses gives the bond the addresses and routes that the IPAM plugin allocates.
func (s *session) addAddresses(ctx context.Context, rec *bond.Record, c *Config) (ipamResult *current.Result, out reconcile.Outcome, err error) {
	if ipamResult, err = s.allocate(ctx, rec); err != nil {
		return nil, out, err
	}
	if err = s.recordIPAM(ctx, rec, c, ipamResult); err != nil {
		return nil, out, err
	}
	if out, err = s.converge(ctx, rec, c); err != nil {
		return nil, out, err
	}
	return ipamResult, out, s.awaitDAD(ctx, rec, &out)
}

// allocate has the IPAM plugin allocate addresses, unless a DEL has started meanwhile. A later DEL releases them.
func (s *session) allocate(ctx context.Context, rec *bond.Record) (ipamResult *current.Result, err error) {
	err = s.engine.WithAddresses(ctx, rec.Key, func(now *bond.Record) (err error) {
		if now == nil || now.Deleted() || !now.SameAdd(rec) {
			return errDELStarted
		}
		ipamResult, err = s.ipam.Add(ctx, rec)
		return err
	})
	rec.CNI.IPAMRefused = err != nil && ctx.Err() == nil && !errors.Is(err, errDELStarted)
	return ipamResult, err
}

// recordIPAM writes the IPAM result into the record.
func (s *session) recordIPAM(ctx context.Context, rec *bond.Record, c *Config, ipamResult *current.Result) error {
	if len(ipamResult.IPs) == 0 {
		return types.NewError(types.ErrInternal, fmt.Sprintf("IPAM %s ADD: no address in its result", c.IPAM), "")
	}
	addresses, err := addressesOf(ipamResult)
	if err != nil {
		return err
	}
	if err = checkMTU(rec.Spec.MTU, addresses); err != nil {
		return err
	}
	routes, err := routesOf(ipamResult, addresses)
	if err != nil {
		return err
	}
	if err := checkGateways(routes, addresses); err != nil {
		return err
	}
	return s.update(ctx, rec, func(r *bond.Record) {
		r.Addresses, r.Routes = addresses, routes
	})
}

// markReady ends the ADD. If the bond's MAC is that of its active member, ADD returns its current MAC, which is
// restored from now on. What sriov-cni and tuning have set on the members is learned here, because the agent may not
// run before the first loss.
func (s *session) markReady(ctx context.Context, rec *bond.Record, out *reconcile.Outcome, dns types.DNS) error {
	mac := rec.Spec.MAC
	if active := activeMember(out); rec.Spec.Options.MACFollowsActive() && active >= 0 {
		mac = out.Record.Members[active].MAC
	}
	return s.update(ctx, rec, func(r *bond.Record) {
		// These two are found without being saved. Everything else may have been changed by the agent since.
		r.BondIndex, r.Settled = out.Record.BondIndex, r.Settled || out.Record.Settled
		r.Spec.MAC, r.Phase, r.DNS = mac, bond.PhaseReady, recordDNS(dns)
		r.Setup.Returned = time.Now().UTC()
		plan.Learn(r, &out.Observed)
		separateMACs(r)
	})
}

func activeMember(out *reconcile.Outcome) int {
	if out.Observed.Bond == nil || out.Observed.Bond.Active == 0 {
		return -1
	}
	return slices.IndexFunc(out.Observed.Members, func(m bond.ObservedMember) bool {
		return m.Location == bond.InPod && m.Link.Index == out.Observed.Bond.Active
	})
}

// update changes this ADD's record, here and in the store, unless a DEL has started.
func (s *session) update(ctx context.Context, rec *bond.Record, change func(*bond.Record)) error {
	err := s.engine.Update(ctx, rec.Key, func(r *bond.Record) error {
		if r.Deleted() || !r.SameAdd(rec) {
			return errDELStarted
		}
		change(r)
		r.Updated = time.Now().UTC()
		*rec = *r.Clone()
		return nil
	})
	if errors.Is(err, bond.ErrNotFound) {
		return errDELStarted
	}
	return err
}

// rollback removes everything of the ADD and returns its first error. It has its own timeout, because ADD may have
// failed by running out of time.
func (s *session) rollback(ctx context.Context, rec *bond.Record, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), delTimeout)
	defer cancel()
	rejected := rec.CNI.IPAMRefused
	err := s.update(ctx, rec, func(r *bond.Record) { r.Phase, r.CNI.IPAMRefused = bond.PhaseDeleting, rejected })
	if err == nil || errors.Is(err, errDELStarted) { // in the latter case DEL has written the tombstone
		err = s.engine.ReleaseRecord(ctx, rec)
	}
	if err != nil {
		s.log.Error("failed ADD not undone completely; DEL or the agent retries", zap.Stringer("bond", rec.Key), zap.Stringer("pod", rec.Pod), zap.Error(err))
	}
	return cause
}
