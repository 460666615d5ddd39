//go:build lab

package heal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// soakTimeout bounds a wait. A guest that shares its host with others is slow.
const soakTimeout = 3 * time.Minute

// silence is how long nothing may happen at a rest.
const silence = time.Second

// rest gives back what faults have taken, lets the runtime and the operator do their part, and waits until everything
// is as modelled, and silent.
func (n *soakNode) rest(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*soakTimeout, errors.New("the rest takes too long"))
	defer cancel()
	n.count.rests++
	if err := n.giveBack(ctx); err != nil {
		return err
	}
	if err := n.startAgent(ctx); err != nil {
		return err
	}
	for i, p := range n.pods {
		if p != nil && p.state != podAlive {
			if err := n.del(ctx, i); err != nil {
				return err
			}
		}
	}
	for _, c := range n.cards {
		for _, vf := range c.vfs {
			if vf.pod == nil && vf.dirty {
				if err := n.operate(ctx, vf); err != nil {
					return err
				}
			}
		}
	}
	if n.sweep {
		if err := sweepNow(ctx); err != nil {
			return err
		}
		n.sweep = false
	}
	if err := n.awaitRest(ctx); err != nil {
		return err
	}
	for _, c := range n.cards {
		for _, vf := range c.vfs {
			vf.reset = false // the agent has restored its settings
		}
	}
	return n.check(ctx)
}

// giveBack undoes every fault that Bondkeeper cannot undo.
func (n *soakNode) giveBack(ctx context.Context) error {
	for i, c := range n.cards {
		if err := errors.Join(n.setPFUp(ctx, i), n.makeVFs(ctx, i)); err != nil {
			return err
		}
		for _, vf := range c.vfs {
			if vf.lost {
				if err := n.bind(vf); err != nil {
					return err
				}
			}
		}
	}
	for _, p := range n.alive() {
		for _, b := range p.bonds {
			if err := n.removeImpostors(ctx, p, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaitRest waits until there are no differences and nothing happens any more.
func (n *soakNode) awaitRest(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, soakTimeout, fmt.Errorf("not within %v", soakTimeout))
	defer cancel()
	var last []string
	for {
		lines, events := n.log.len(), n.monitor.events.len()
		found, err := n.differences(ctx)
		if err == nil {
			last = found
			err = n.change(ctx, lines, events, silence)
		} else if ctx.Err() == nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("no rest: %w:\n  %s\n%s", context.Cause(ctx), strings.Join(last, "\n  "), n.recent(lines, events))
		}
		if len(found) == 0 && n.log.len() == lines && n.monitor.events.len() == events {
			return nil
		}
	}
}

// recent returns the last changes and log lines, if a rest does not become silent.
func (n *soakNode) recent(lines, events int) string {
	var text strings.Builder
	for _, e := range n.monitor.events.from(max(0, events-10)) {
		fmt.Fprintf(&text, "  kernel: %s %s\n", e.at.Format(time.TimeOnly), e.text)
	}
	for _, l := range n.log.from(max(0, lines-10)) {
		fmt.Fprintf(&text, "  agent: %s\n", l.Raw)
	}
	return text.String()
}

// differences lists every difference from the model.
func (n *soakNode) differences(ctx context.Context) (found []string, err error) {
	if !n.agent.runs() {
		return nil, fmt.Errorf("the agent has ended: %w", n.agent.err)
	}
	for _, l := range n.log.from(n.logAt) {
		if l.Level == "raw" || l.Level == "panic" || l.Level == "dpanic" {
			return nil, fmt.Errorf("the agent printed: %s", l.Raw)
		}
	}
	for _, p := range n.alive() {
		s, err := n.snapshot(ctx, p)
		if err != nil {
			return nil, err
		}
		want := p.expected(s)
		for _, line := range s.diff(want) {
			found = append(found, p.name+": "+line)
		}
	}
	for _, more := range []func(context.Context) ([]string, error){n.hostDifferences, n.fileDifferences, n.leaseDifferences, n.statusDifferences} {
		lines, err := more(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, lines...)
	}
	return found, nil
}

// expected is the baseline, adjusted to choices that the kernel may make.
func (p *soakPod) expected(now snapshot) snapshot {
	want := snapshot{}
	for name, value := range p.baseline {
		want[name] = value
	}
	for _, b := range p.bonds {
		if b.options["mode"] == "balance-tlb" || b.failover && b.swapsMACs() { // the driver exchanges MACs without telling the cards
			want[b.name+" members "+pfAddress] = now[b.name+" members "+pfAddress]
		}
		if !b.failover {
			continue
		}
		for _, vf := range b.members {
			if now[b.name+" mac"] == b.wantMAC(vf) {
				want[b.name+" mac"] = now[b.name+" mac"]
			}
		}
	}
	return want
}

// hostDifferences compares the VFs that no pod uses with the operator's configuration.
func (n *soakNode) hostDifferences(ctx context.Context) (found []string, err error) {
	now, err := n.hostVFs(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range n.cards {
		for _, vf := range c.vfs {
			if vf.pod != nil {
				continue
			}
			for _, line := range now[vf.pci].diff(n.free[vf.pci]) {
				found = append(found, fmt.Sprintf("VF %s, used by no pod: %s", vf.pci, line))
			}
		}
	}
	return found, nil
}

// hostVFs reads the VFs in the host with their settings on the PFs, by PCI address.
func (n *soakNode) hostVFs(ctx context.Context) (map[string]snapshot, error) {
	links, err := hostLinks(ctx)
	if err != nil {
		return nil, err
	}
	vfs := map[string]snapshot{}
	for i := range links {
		if l := &links[i]; l.ParentDev != "" {
			vfs[topology.FunctionOf(l.ParentDev)] = snapshot{"name": l.Name, "mac": l.MAC, "mtu": fmt.Sprint(l.MTU), "master": l.Master}
		}
	}
	for _, c := range n.cards {
		at := slices.IndexFunc(links, func(l ipLink) bool { return topology.FunctionOf(l.ParentDev) == c.PF.PCI })
		for _, vf := range c.vfs {
			if s := vfs[vf.pci]; s != nil && at >= 0 {
				s.vf(links[at].VFs, vf.number, "on its PF")
			}
		}
	}
	return vfs, nil
}

// fileDifferences are files in the state directory that belong to no existing bond.
func (n *soakNode) fileDifferences(context.Context) (found []string, err error) {
	var keys []string
	for _, p := range n.alive() {
		for _, b := range p.bonds {
			keys = append(keys, b.key.String())
		}
	}
	for _, f := range stateFiles() {
		living := slices.ContainsFunc(keys, func(k string) bool { return strings.Contains(filepath.Base(f), k) })
		if !living && !slices.Contains(n.files, f) {
			found = append(found, "file of no bond: "+f)
		}
	}
	return found, nil
}

// leaseDifferences compares the addresses that host-local holds with those of existing bonds.
func (n *soakNode) leaseDifferences(context.Context) (found []string, err error) {
	want := map[string]bool{}
	for _, p := range n.alive() {
		for _, b := range p.bonds {
			for _, a := range b.addresses {
				want[netip.MustParsePrefix(a).Addr().String()] = true
			}
		}
	}
	for i := range soakBonds {
		held, err := leases(i)
		if err != nil {
			return nil, err
		}
		for _, a := range held {
			if !want[a] {
				found = append(found, fmt.Sprintf("address %s of soak%d is allocated to no bond", a, i))
			}
			delete(want, a)
		}
	}
	for a := range want {
		found = append(found, "address "+a+" is in use and not allocated")
	}
	return found, nil
}

func isLastReserved(name string) bool { return strings.HasPrefix(name, "last_reserved_ip") }

// statusDifferences checks that every existing bond is Ready and that no other bond is known.
func (n *soakNode) statusDifferences(ctx context.Context) (found []string, err error) {
	out, err := output(ctx, "", filepath.Join(n.bin, "agent"), "status", "-o", "json")
	if err != nil {
		return nil, err
	}
	var all []bond.Status
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, err
	}
	living := map[bond.Key]bool{}
	for _, p := range n.alive() {
		for _, b := range p.bonds {
			living[b.key] = true
		}
	}
	for _, s := range all {
		if !living[s.Key] {
			found = append(found, fmt.Sprintf("status of a bond that has ended: %s, %s", s.Key, s.State))
		} else if s.State != bond.StateReady || s.Contested != 0 {
			found = append(found, fmt.Sprintf("status of %s: %s, %s", s.Key, s.State, s.Reason))
		}
		delete(living, s.Key)
	}
	for k := range living {
		found = append(found, "no status of "+k.String())
	}
	return found, nil
}

// check does what must succeed at a rest: CHECK of every bond, and traffic between the bonds of a network.
func (n *soakNode) check(ctx context.Context) error {
	for _, p := range n.alive() {
		for _, b := range p.bonds {
			conf, err := libcni.NetworkPluginConfFromBytes(b.config)
			if err != nil {
				return err
			}
			if err := n.cni.CheckNetwork(ctx, conf, p.runtimeConf(b.name)); err != nil {
				return fmt.Errorf("CHECK of %s at rest: %w", b.key, err)
			}
		}
	}
	return nil
}

// sweepNow removes what killed processes left, as the agent does after ten minutes.
func sweepNow(ctx context.Context) error {
	records, err := store.Open(store.DefaultDir)
	if err != nil {
		return err
	}
	old := time.Now().Add(-24 * time.Hour)
	for _, f := range stateFiles() {
		if filepath.Dir(f) != store.DefaultDir {
			_ = os.Chtimes(f, old, old) // it may have been removed meanwhile
		}
	}
	_, _, err = records.List(ctx)
	return errors.Join(err, records.SweepLocks(ctx))
}

// dmesg is the end of the kernel's log.
func dmesg(ctx context.Context) string {
	text, _ := exec.CommandContext(ctx, "dmesg").Output()
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-10):], []byte("\n  ")))
}
