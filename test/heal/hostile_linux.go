package heal

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// HostileFaults are attacks, busy neighbours, storms and obstacles to a repair. long adds those that take minutes.
func HostileFaults(long bool) []Fault {
	return slices.Concat(Attacks(long), Ends(long), Neighbours(long), Storms(long), Obstacles())
}

// Attacks are what a pod with CAP_NET_ADMIN can do, and things that happen to the files of its netns. Pod A is the
// attacker. During each attack a member of pod B is lost and must be repaired. Afterwards the host and pod B must be as
// before, and pod A as recorded.
func Attacks(long bool) []Fault {
	var faults []Fault
	for _, a := range attacks() {
		if a.long && !long {
			continue
		}
		faults = append(faults, Fault{Name: a.name, Expect: "other bonds complete, host untouched", Agent: []string{"--resync", "2s"}, run: a.run})
	}
	return faults
}

// attack is one row.
type attack struct {
	name string
	// do starts the attack. It returns a function that ends it.
	do func(ctx context.Context, s *faultRun) (undo func() error, err error)
	// reports must each be in a reason that the agent reports for pod A; empty if it repairs everything at once.
	reports []string
	// repaired: pod A's bond is repaired during the attack.
	repaired bool
	// master is given to pod A's bond and recorded before the attack ends, which removes it; empty for none.
	master string
	// onB: the attack takes a member from pod B.
	onB bool
	// long: runs in make hostile only. endsShort: the DEL during it runs in make test, too.
	long, endsShort bool
}

func attacks() []attack {
	return []attack{
		{name: "impostors with name, temporary name and MACs of a lost VF", do: impostors, reports: []string{"kind \"dummy\"", "temporary name"}, endsShort: true},
		{name: "impostors with name, MAC and ifindex of a deleted bond", do: bondImpostors, reports: []string{"has the bond's name"}},
		{name: "aliases and alternative names up to the kernel's limit", do: altNames, repaired: true},
		{name: "members under a bridge and another bond", do: stackedMembers, repaired: true},
		{name: "macvlan on a released member", do: macvlanOnMember, reports: []string{"macvlan9"}, long: true},
		{name: "bond under a bridge, a VRF and another bond", do: stackedBond, repaired: true, master: "vrf0"},
		{name: "VF moved to another pod under its member's name", do: vfToOtherPod, reports: []string{"neither the pod nor the host"}, onB: true},
		{name: "VF moved to a netns without a name", do: vfToUnnamed, reports: []string{"neither the pod nor the host"}},
		{name: "netns file covered by another pod's, VF lost", do: coveredByPod, reports: []string{"netns"}},
		{name: "netns file covered by a nested netns with impostors", do: coveredByNested, reports: []string{"netns"}, long: true},
		{name: "10,000 links", do: manyLinks, repaired: true, long: true},
	}
}

func (a attack) run(ctx context.Context, s *faultRun) error {
	others, err := s.watchOthers(ctx)
	if err != nil {
		return err
	}
	var undo func() error
	err = s.fault(a.name, func() (err error) { undo, err = s.attack(ctx, a.do); return err })
	if err != nil {
		return err
	}
	err = a.during(ctx, s)
	if err = errors.Join(err, s.giveBack("the attack ends", undo)); err != nil {
		return err
	}
	// The pods may be as before until the agent reacts to the attack's end.
	if err := errors.Join(s.quiet(ctx, time.Second), s.awaitRecovery(ctx, s.r.Pods()...)); err != nil {
		return err
	}
	lostOnB := func(l Line) bool { return l.isLoss() && s.r.B.is(l) && l.Member != s.r.B.members[1].name }
	if n := s.count(lostOnB); n > 0 && !a.onB {
		return fmt.Errorf("pod %s had %d other losses than that of its second member", s.r.B.Name, n)
	}
	s.result.Outcome = "others untouched, pod complete"
	return others.untouched(ctx)
}

// attack starts an attack while the agent is stopped, so that the agent sees the result and not the steps.
func (s *faultRun) attack(ctx context.Context, do func(context.Context, *faultRun) (func() error, error)) (undo func() error, err error) {
	err = s.paused(func() (err error) { undo, err = do(ctx, s); return err })
	return undo, err
}

// paused stops the agent while something is done.
func (s *faultRun) paused(do func() error) error {
	if s.r.agent == nil {
		return errors.New("this fault needs an agent")
	}
	if err := s.r.agent.pause(); err != nil {
		return err
	}
	err := do()
	return errors.Join(err, s.r.agent.resume())
}

// during checks what must be true during the attack.
func (a attack) during(ctx context.Context, s *faultRun) error {
	for _, text := range a.reports {
		l, err := s.sees(ctx, "a report of "+text, func(l Line) bool {
			return l.Msg == "bond state changed" && s.r.A.is(l) && strings.Contains(l.Reason, text)
		})
		if err != nil {
			return err
		}
		s.logf("reported: %s", l.Reason)
	}
	if a.repaired {
		if err := s.memberLostAndBack(ctx, s.r.A, 1); err != nil {
			return err
		}
	}
	if err := s.memberLostAndBack(ctx, s.r.B, 1); err != nil || a.master == "" {
		return err
	}
	return s.r.A.awaitMaster(ctx, a.master)
}

// awaitMaster waits until the pod's record has the bond's master.
func (p *Pod) awaitMaster(ctx context.Context, name string) error {
	records, err := store.Open(store.DefaultDir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not in the record within %v", timeout))
	defer cancel()
	return awaitFiles(ctx, store.DefaultDir, func() (string, error) {
		r, err := records.Load(bond.Key{ContainerID: p.id, IfName: BondName})
		if err != nil {
			return "", err
		}
		if r.Learned == nil || r.Learned.Upper == nil || r.Learned.Upper.Name != name {
			return fmt.Sprintf("the master %s in the record of pod %s", name, p.Name), nil
		}
		return "", nil
	})
}

// memberLostAndBack moves a member's VF to the host, as its driver does, and waits until the agent has repaired the
// bond.
func (s *faultRun) memberLostAndBack(ctx context.Context, p *Pod, member int) error {
	_, err := s.repairTime(ctx, p, member)
	return err
}

// repairTime is the time from the loss of a VF until the agent reports that it is back in the bond.
func (s *faultRun) repairTime(ctx context.Context, p *Pod, member int) (time.Duration, error) {
	name, place, began := p.members[member].name, s.r.log.len(), time.Now()
	if err := ip(ctx, "-n %s link set %s netns 1", p.Name, name); err != nil {
		return 0, err
	}
	for {
		l, after, err := s.r.log.await(ctx, place, func(l Line) bool { return l.isRecovery() && p.is(l) && l.Member == name })
		if err != nil {
			return 0, errWaited("the repair of "+name+" of pod "+p.Name, err)
		}
		// The line may be about an earlier loss, whose repair was verified just before this one.
		if enslaved, err := p.enslaved(ctx); err != nil || slices.Contains(enslaved, name) {
			return l.Time.Sub(began), err
		}
		place = after
	}
}

// inA runs ip(8) commands in pod A.
func (s *faultRun) inA(ctx context.Context, lines ...string) error {
	return ipBatch(ctx, s.r.A.Name, strings.Join(lines, "\n")+"\n")
}

// undoInA returns a function that runs ip(8) commands in pod A.
func (s *faultRun) undoInA(ctx context.Context, lines ...string) func() error {
	return func() error { return s.inA(ctx, lines...) }
}

// tempName is the name of a VF in the bond while its own name is taken.
func (m *member) tempName() string {
	tag := strings.NewReplacer(":", "", ".", "").Replace(m.pci)
	return "bk-" + tag[max(0, len(tag)-12):]
}

// impostors have both names that a lost VF can return under, its MAC, and the bond's MAC.
func impostors(ctx context.Context, s *faultRun) (func() error, error) {
	p := s.r.A
	vf := p.members[0]
	if err := unbindVF(vf.pci); err != nil {
		return nil, err
	}
	err := s.inA(ctx,
		"link add net1 type dummy", "link set net1 address "+p.settings(vf).mac, "link set net1 alias "+vf.pci, "link set net1 up",
		"link add spare type dummy", "link property add dev spare altname "+vf.tempName(), "link set spare address "+p.mac)
	if err = errors.Join(err, bindVF(vf.pci)); err != nil {
		return nil, err
	}
	return s.undoInA(ctx, "link del net1", "link del spare"), nil
}

// bondImpostors are a dummy with the bond's name and MAC, and another bond with its ifindex.
func bondImpostors(ctx context.Context, s *faultRun) (func() error, error) {
	p := s.r.A
	index, err := p.ifindex(ctx, BondName)
	if err != nil {
		return nil, err
	}
	err = s.inA(ctx, "link del bond0", "link add bond0 type dummy", "link set bond0 address "+p.mac, "link set bond0 up",
		fmt.Sprintf("link add other0 index %d type dummy", index))
	if err != nil {
		return nil, err
	}
	return s.undoInA(ctx, "link del bond0", "link del other0"), nil
}

// altNames gives the bond and a member alternative names up to the kernel's limit (64 KiB per link), and aliases. ip
// monitor cannot receive messages of that length, so it is stopped meanwhile.
func altNames(ctx context.Context, s *faultRun) (func() error, error) {
	names := func(verb string) string {
		var lines strings.Builder
		for _, link := range []string{"net1", BondName} {
			for i := range 100 {
				fmt.Fprintf(&lines, "link property %s dev %s", verb, link)
				for j := range 6 { // more would be too long for ip(8)
					fmt.Fprintf(&lines, " altname %s-%d-%d-%s", link, i, j, strings.Repeat("x", 110))
				}
				lines.WriteString("\n")
			}
		}
		return lines.String()
	}
	s.r.monitor.stop()
	if err := ipForced(ctx, s.r.A.Name, names("add")); err != nil {
		return nil, err
	}
	alias := strings.Repeat("a", 255)
	if err := s.inA(ctx, "link set net1 alias "+alias, "link set bond0 alias "+alias); err != nil {
		return nil, err
	}
	return func() (err error) {
		if err = ipForced(ctx, s.r.A.Name, names("del")); err == nil {
			s.r.monitor, err = startMonitor(s.r.monitor.events)
		}
		return err
	}, nil
}

// stackedMembers enslaves one member to a bridge and one to another bond.
func stackedMembers(ctx context.Context, s *faultRun) (func() error, error) {
	err := s.inA(ctx, "link add br0 type bridge", "link set net1 master br0",
		"link add bond9 type bond mode active-backup", "link set net2 down", "link set net2 master bond9", "link set bond9 up")
	if err != nil {
		return nil, err
	}
	return s.undoInA(ctx, "link del br0", "link del bond9"), nil
}

// macvlanOnMember makes a link on top of a member; the kernel then does not enslave the member.
func macvlanOnMember(ctx context.Context, s *faultRun) (func() error, error) {
	if err := s.inA(ctx, "link set net1 nomaster", "link add link net1 name macvlan9 type macvlan"); err != nil {
		return nil, err
	}
	return s.undoInA(ctx, "link del macvlan9"), nil
}

// stackedBond enslaves the bond to three kinds of masters in turn.
func stackedBond(ctx context.Context, s *faultRun) (func() error, error) {
	err := s.inA(ctx,
		"link add br0 type bridge", "link set bond0 master br0", "link set bond0 nomaster",
		"link add bond9 type bond mode active-backup", "link set bond0 down", "link set bond0 master bond9", "link set bond9 up",
		"link set bond0 nomaster", "link add vrf0 type vrf table 99", "link set bond0 master vrf0")
	if err != nil {
		return nil, err
	}
	return s.undoInA(ctx, "link del br0", "link del bond9", "link del vrf0"), nil
}

// vfToOtherPod moves a VF into pod B, beside links with the names of B's members.
func vfToOtherPod(ctx context.Context, s *faultRun) (func() error, error) {
	a, b := s.r.A, s.r.B
	err := ip(ctx, "-n %s link set net1 netns %s name net9", a.Name, b.Name)
	if err != nil {
		return nil, err
	}
	// B's own VF is lost meanwhile, and A's VF has its name.
	if err := unbindVF(b.members[0].pci); err != nil {
		return nil, err
	}
	if err := errors.Join(ip(ctx, "-n %s link set net9 name net1", b.Name), bindVF(b.members[0].pci)); err != nil {
		return nil, err
	}
	return func() error { return ip(ctx, "-n %s link set net1 netns %s", b.Name, a.Name) }, nil
}

// vfToUnnamed moves a VF into a process's netns, which has no file. The VF returns to the host when the process ends.
func vfToUnnamed(ctx context.Context, s *faultRun) (func() error, error) {
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	end := func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		return nil
	}
	if err := ip(ctx, "-n %s link set net1 netns %d", s.r.A.Name, cmd.Process.Pid); err != nil {
		return nil, errors.Join(err, end())
	}
	return end, nil
}

// coveredByPod mounts pod B's netns over the file of pod A's netns, and loses a VF of A.
func coveredByPod(ctx context.Context, s *faultRun) (func() error, error) {
	return s.cover(s.r.B.netns())
}

// coveredByNested mounts another netns of pod A, whose links have the recorded names, over the file of A's netns.
func coveredByNested(ctx context.Context, s *faultRun) (func() error, error) {
	const nested = "nested0"
	err := ipBatch(ctx, "", "netns add "+nested+"\n")
	if err == nil {
		err = ipBatch(ctx, nested, "link add bond0 type bond mode active-backup\nlink add net1 type dummy\nlink add net2 type dummy\nlink set net2 master bond0\nlink set bond0 up\n")
	}
	if err != nil {
		return nil, err
	}
	uncover, err := s.cover("/run/netns/" + nested)
	if err != nil {
		return nil, err
	}
	return func() error { return errors.Join(uncover(), ip(ctx, "netns del %s", nested)) }, nil
}

// cover mounts a netns over the file of pod A's netns, and returns a VF of A to the host, where it must stay.
func (s *faultRun) cover(netns string) (func() error, error) {
	a := s.r.A
	if err := unix.Mount(netns, a.netns(), "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("mount %s over %s: %w", netns, a.netns(), err)
	}
	vf := a.members[0].pci
	if err := errors.Join(unbindVF(vf), bindVF(vf)); err != nil {
		return nil, errors.Join(err, unix.Unmount(a.netns(), 0))
	}
	return func() error {
		err := stillInHost(vf)
		return errors.Join(err, unix.Unmount(a.netns(), 0))
	}, nil
}

// manyLinks makes links that do not concern the agent.
func manyLinks(ctx context.Context, s *faultRun) (func() error, error) {
	return s.makeLinks(ctx, 10_000)
}

// makeLinks makes dummy links in pod A.
func (s *faultRun) makeLinks(ctx context.Context, n int) (undo func() error, err error) {
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "link add many%d type dummy\nlink set many%d group 99\n", i, i)
	}
	if err := ipBatch(ctx, s.r.A.Name, lines.String()); err != nil {
		return nil, err
	}
	return s.undoInA(ctx, "link del group 99"), nil
}
