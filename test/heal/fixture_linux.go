package heal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// needed are the programs that Config.Bin must contain: make build plugins.
var needed = []string{"agent", "bond", "cni/host-device", "cni/host-local", "cni/tuning", "cni/sbr"}

// timeout bounds every wait for an expected event. Under emulation a driver can take seconds, and a backed-off repair
// up to half a minute.
const timeout = 90 * time.Second

// Config configures a Fixture.
type Config struct {
	// Bin is the directory of the agent and the plugin; the reference plugins are in its directory cni.
	Bin string
	// NoAgent keeps the agent stopped in every fault: nothing must be repaired then. It proves that the checks detect
	// faults.
	NoAgent bool
	// Long runs attacks and storms at full length and size (make hostile), which takes minutes.
	Long bool
}

// scaled selects one of two sizes of an attack or a storm.
func (c *Config) scaled(short, long int) int {
	if c.Long {
		return long
	}
	return short
}

// Fixture has two pods in the guest whose bonds are broken and repaired. It is for one goroutine.
type Fixture struct {
	cfg   Config
	cards []card
	cni   *libcni.CNIConfig
	A, B  *Pod
	// brief is a third pod, for faults that end a pod.
	brief   *Pod
	log     feed[Line]
	agent   *agent
	monitor *monitor
	pings   *pings
}

// New makes the pods, starts the agent and the pings, and returns once both bonds are complete. It needs a guest with
// two cards of four VFs. Only one Fixture can exist at a time.
func New(ctx context.Context, cfg Config) (*Fixture, error) {
	guest, err := topology.Load()
	if err != nil {
		return nil, err
	}
	for _, name := range needed {
		if _, err := os.Stat(filepath.Join(cfg.Bin, name)); err != nil {
			return nil, fmt.Errorf("a program is missing; make build plugins: %w", err)
		}
	}
	r := &Fixture{cfg: cfg, cni: libcni.NewCNIConfigWithCacheDir([]string{cfg.Bin, filepath.Join(cfg.Bin, "cni")}, "/run/heal-cni-cache", nil)}
	for _, c := range guest.Cards {
		if len(c.VFs) < 3 {
			return nil, fmt.Errorf("card %s has %d VFs, want at least 3", c.PF.PCI, len(c.VFs))
		}
		r.cards = append(r.cards, card{c, guest.Model})
	}
	if len(r.cards) < 2 {
		return nil, fmt.Errorf("the guest has %d cards, want 2", len(r.cards))
	}
	r.A, r.B = newPod(r, "bondpod1", 0), newPod(r, "bondpod2", 1)
	r.brief = newPod(r, "bondpod3", 2)
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Close(context.WithoutCancel(ctx)))
	}
	return r, nil
}

func (r *Fixture) start(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if r.monitor, err = startMonitor(&feed[event]{}); err != nil {
		return err
	}
	for _, c := range r.cards {
		if err = c.complete(ctx); err != nil {
			return err
		}
	}
	if err = r.restoreNames(ctx); err != nil {
		return err
	}
	return r.makePods(ctx)
}

// makePods makes the pods and starts the pings.
func (r *Fixture) makePods(ctx context.Context) (err error) {
	for _, p := range r.Pods() {
		if err = p.prepareVFs(ctx); err != nil {
			return err
		}
	}
	for _, p := range r.Pods() {
		if err = p.add(ctx); err != nil {
			return err
		}
		if err = r.takeBaseline(ctx, p); err != nil {
			return err
		}
	}
	if r.pings, err = startPings(r.A.netns(), r.B.address); err != nil {
		return err
	}
	_, err = r.pings.open(ctx)
	return err
}

// remake removes what is left of the pods, by force if needed, and makes them again.
func (r *Fixture) remake(ctx context.Context) error {
	if err := r.stopAgent(ctx, unix.SIGKILL); err != nil {
		return err
	}
	r.pings.stop()
	for _, p := range append(r.Pods(), r.brief) {
		_ = p.del(ctx) // fails if something is missing
		_ = ip(ctx, "netns del %s", p.Name)
	}
	for _, c := range r.cards {
		if err := errors.Join(c.setNumVFs(0), c.setPF(ctx, "up"), c.setNumVFs(len(c.VFs))); err != nil {
			return err
		}
	}
	return r.makePods(ctx)
}

// restoreNames restores the original names of the VFs in the host. A rebound VF has the first free name, which may be
// the original name of a VF in a pod; host-device could then not return that one.
func (r *Fixture) restoreNames(ctx context.Context) error {
	var temporary, home strings.Builder
	for _, c := range r.cards {
		for _, vf := range c.VFs {
			now, err := topology.Netdev(vf.PCI)
			if errors.Is(err, fs.ErrNotExist) || now == vf.Name {
				continue
			}
			if err != nil {
				return err
			}
			tempName := "vf-" + strings.NewReplacer(":", "", ".", "").Replace(vf.PCI)
			fmt.Fprintf(&temporary, "link set %s name %s\n", now, tempName)
			fmt.Fprintf(&home, "link set %s name %s\n", tempName, vf.Name)
		}
	}
	return ipBatch(ctx, "", temporary.String()+home.String())
}

// Excluded returns why a fault cannot happen to the guest's cards; empty if it can.
func (r *Fixture) Excluded(f Fault) string {
	model := r.cards[0].model
	switch {
	case f.Needs.VFSettings && !model.VFSettings:
		return fmt.Sprintf("excluded: PFs of %s have no settings for VFs", model.Name)
	case f.Needs.VFsFollowPF && !model.VFsFollowPF:
		return fmt.Sprintf("excluded: VFs of %s keep their carrier without the PF", model.Name)
	case f.Needs.ResetDropsCarrier && !model.ResetDropsCarrier:
		return fmt.Sprintf("excluded: VFs of %s keep their carrier after a reset", model.Name)
	}
	return ""
}

// Pods returns the pods that exist for the whole run.
func (r *Fixture) Pods() []*Pod { return []*Pod{r.A, r.B} }

// takeBaseline waits until the driver counts all members of a new bond as up, and stores the pod's state as its
// baseline.
func (r *Fixture) takeBaseline(ctx context.Context, p *Pod) error {
	_, err := r.until(ctx, p, func(s snapshot) []string {
		want := snapshot{
			BondName + " mac":                          p.mac,
			BondName + " mtu":                          "1500",
			BondName + " address " + p.address + "/24": "global",
			BondName + " option mode":                  "active-backup",
			BondName + " option fail_over_mac":         "active",
			BondName + " option miimon":                "100",
		}
		for _, m := range p.members {
			settings := p.settings(m)
			want[m.name+" MII status"] = "up"
			want[m.name+" carrier"] = "true"
			want[m.name+" master"] = BondName
			want[m.name+" pci"] = m.pci
			want[m.name+" mac"] = settings.mac
		}
		p.baseline = s
		have := snapshot{}
		for name := range want {
			have[name] = s[name]
		}
		return have.diff(want)
	})
	return err
}

// until checks a pod after every kernel change and agent log line until wrong finds nothing. It returns the time of the
// last of those before the end of the successful check. The error has what was wrong last.
func (r *Fixture) until(ctx context.Context, p *Pod, wrong func(snapshot) []string) (time.Time, error) {
	for {
		lines, events := r.log.len(), r.monitor.events.len()
		s, err := p.snapshot(ctx)
		if err != nil {
			return time.Time{}, err
		}
		found := wrong(s)
		if len(found) == 0 {
			return r.last(), nil
		}
		select {
		case <-r.log.next(lines):
		case <-r.monitor.events.next(events):
		case <-r.monitor.done:
			return time.Time{}, fmt.Errorf("ip monitor has ended: %s", bytes.TrimSpace(r.monitor.failed.Bytes()))
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("pod %s (%w):\n  %s", p.Name, context.Cause(ctx), strings.Join(found, "\n  "))
		}
	}
}

// last is the time of the last kernel change or agent log line.
func (r *Fixture) last() time.Time {
	var last time.Time
	if n := r.log.len(); n > 0 {
		last = r.log.from(n - 1)[0].Time
	}
	if n := r.monitor.events.len(); n > 0 {
		if at := r.monitor.events.from(n - 1)[0].at; at.After(last) {
			last = at
		}
	}
	return last
}

// awaitBaseline waits until a pod matches its baseline.
func (r *Fixture) awaitBaseline(ctx context.Context, p *Pod, besides ...string) error {
	_, err := r.until(ctx, p, func(s snapshot) []string { return s.diff(p.baseline, besides...) })
	return err
}

// useAgent makes sure that an agent runs with these flags and has reconciled every bond.
func (r *Fixture) useAgent(ctx context.Context, args ...string) error {
	// The same VF is broken every few seconds, in different ways; flap damping must not delay its repair.
	args = append([]string{"--flap-window", "1ms", "--setup-quiet", "1s"}, args...)
	if r.cfg.NoAgent || r.agent.runsAs(args) {
		return nil
	}
	if err := r.stopAgent(ctx, unix.SIGTERM); err != nil {
		return err
	}
	place := r.log.len()
	a, err := startAgent(filepath.Join(r.cfg.Bin, "agent"), &r.log, args...)
	if err != nil {
		return err
	}
	r.agent = a
	if err = r.awaitReconciled(ctx, place); err == nil {
		a.atStart, err = a.rest(ctx)
	}
	return err
}

// awaitReconciled waits until an agent that started after a place in the log has reconciled both pods.
func (r *Fixture) awaitReconciled(ctx context.Context, place int) error {
	for _, p := range r.Pods() {
		if _, _, err := r.log.await(ctx, place, func(l Line) bool { return l.Msg == "bond state changed" && p.is(l) }); err != nil {
			return errWaited("the agent's first look at pod "+p.Name, err)
		}
	}
	return nil
}

// setUp waits until the agent considers each pod's set-up complete: before that it learns from a fault instead of
// repairing it.
func (r *Fixture) setUp(ctx context.Context) error {
	for _, p := range r.Pods() {
		if p.setUp || r.cfg.NoAgent {
			continue
		}
		if _, _, err := r.log.await(ctx, p.added, func(l Line) bool { return l.Msg == "pod set-up complete" && p.is(l) }); err != nil {
			return errWaited("the end of the set-up of pod "+p.Name, err)
		}
		p.setUp = true
	}
	return nil
}

// stopAgent stops the agent, if there is one. After SIGTERM it must have nothing left open.
func (r *Fixture) stopAgent(ctx context.Context, s unix.Signal) error {
	if r.agent == nil || !r.agent.runs() {
		return nil
	}
	var leaks error
	if s == unix.SIGTERM {
		soon, cancel := context.WithTimeout(ctx, timeout/3)
		leaks = r.agent.leaks(soon)
		cancel()
	}
	return errors.Join(leaks, r.agent.end(ctx, s))
}

// Close stops all processes and deletes the pods as Multus does.
func (r *Fixture) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var errs []error
	errs = append(errs, r.stopAgent(ctx, unix.SIGTERM))
	if r.pings != nil {
		errs = append(errs, r.pings.alive())
		r.pings.stop()
	}
	errs = append(errs, r.restoreNames(ctx))
	for _, p := range r.Pods() {
		if p.baseline != nil {
			errs = append(errs, p.del(ctx), ip(ctx, "netns del %s", p.Name))
		}
	}
	if r.monitor != nil {
		r.monitor.stop()
	}
	return errors.Join(errs...)
}

// String lists each pod with its address, MAC and members.
func (r *Fixture) String() string {
	var text strings.Builder
	for _, p := range r.Pods() {
		fmt.Fprintf(&text, "%s  %s %s %s", p.Name, BondName, p.address, p.mac)
		for _, m := range p.members {
			fmt.Fprintf(&text, "  %s = %s", m.name, m.pci)
		}
		text.WriteString("\n")
	}
	fmt.Fprintf(&text, "%s pings %s 20 times a second.", r.A.Name, r.B.Name)
	return text.String()
}
