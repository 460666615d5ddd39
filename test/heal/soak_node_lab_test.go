//go:build lab

package heal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// soakAgent are the agent's flags in a walk. Repair must follow from events, so a rest fails before the first resync.
var soakAgent = []string{
	"--runtime", "none", "--kubeconfig", "none", "--listen", "", "--resync", "10m",
	"--flap-window", "1ms", "--setup-quiet", "1s", "--carrier-patience", "4s", "--grace", "1s",
}

// soakVF is the walk's model of a VF.
type soakVF struct {
	member
	// host is the VF's name in the host; settings are its settings on the PF while no pod uses it.
	host     string
	settings vfSettings
	// lost: it has no driver.
	lost bool
	// dirty: it is not in use, and has a fault that only the node's operator undoes.
	dirty bool
	// reset: since the last rest its card was recreated while a pod used the VF, so the PF has lost its settings. If
	// the pod ends before the agent restores them, the operator has to.
	reset bool
	pod   *soakPod // nil if not in use
}

// soakCard is the walk's model of a card.
type soakCard struct {
	card
	gone, down bool // sriov_numvfs is 0; the PF is set down
	vfs        []*soakVF
}

// soakNode is a node on which a walk is taken: real programs, real VFs, and the model of the expected state.
type soakNode struct {
	bin     string
	cni     *libcni.CNIConfig
	cards   []*soakCard
	log     feed[Line]
	agent   *agent
	monitor *monitor
	pods    [soakPods]*soakPod
	lives   int // containers so far
	// free are the VFs as the operator configured them, by PCI address.
	free map[string]snapshot
	// files are those in the state directory while there is no bond.
	files []string
	// sweep: a process was killed, and what it left may stay until the agent's next sweep.
	sweep bool
	logAt int // the place in the agent's log at the start of the walk
	// rested: nothing has happened since the last rest.
	rested bool
	// traced is a directory with the plugin under a tracer that kills it; report is the file with the plugin's changes.
	traced, report string
	// atStart: the node is as at the start of every walk.
	atStart  bool
	progress func(string)
	count    soakCount
}

// soakCount is a run's summary.
type soakCount struct {
	walks, steps, rests, adds, dels, kills, retries int
	ops                                             map[string]int
}

func (c *soakCount) String() string {
	var ops []string
	for name, n := range c.ops {
		ops = append(ops, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(ops)
	return fmt.Sprintf("%d walks, %d steps with an effect, %d rests; %d ADDs and %d DELs, %d DELs repeated; %d processes killed\n%s",
		c.walks, c.steps, c.rests, c.adds, c.dels, c.retries, c.kills, strings.Join(ops, ", "))
}

func newSoakNode(ctx context.Context, bin string, report func(string)) (*soakNode, error) {
	guest, err := topology.Load()
	if err != nil {
		return nil, err
	}
	n := &soakNode{bin: bin, progress: report, count: soakCount{ops: map[string]int{}}}
	n.cni = libcni.NewCNIConfigWithCacheDir([]string{bin, filepath.Join(bin, "cni")}, "/run/soak-cni-cache", nil)
	for i, c := range guest.Cards[:2] {
		sc := &soakCard{card: card{c, guest.Model}}
		for number, f := range c.VFs {
			sc.vfs = append(sc.vfs, &soakVF{
				member: member{card: i, number: number, pci: f.PCI}, host: fmt.Sprintf("c%dv%d", i, number),
				settings: vfSettings{mac: fmt.Sprintf("02:00:00:01:%02x:%02x", i, number), trust: "on", spoofchk: []string{"off", "on"}[number%2]},
				dirty:    true,
			})
		}
		n.cards = append(n.cards, sc)
	}
	if n.monitor, err = startMonitor(&feed[event]{}); err != nil {
		return nil, err
	}
	return n, n.clean(ctx)
}

// clean brings the node to the state in which every walk starts. After a successful walk it already is.
func (n *soakNode) clean(ctx context.Context) error {
	if n.atStart {
		return nil
	}
	if n.agent != nil && n.agent.runs() {
		if err := n.agent.end(ctx, unix.SIGKILL); err != nil {
			return err
		}
	}
	var errs []error
	for i, p := range n.pods {
		n.pods[i] = nil
		if p != nil {
			_ = ip(ctx, "netns del %s", p.name) // a walk that failed may have deleted it
		}
	}
	for _, dir := range []string{store.DefaultDir, "/run/soak-cni-cache", "/var/lib/cni/sriov"} {
		errs = append(errs, os.RemoveAll(dir))
	}
	for i := range soakBonds {
		errs = append(errs, os.RemoveAll(leaseDir(i)))
	}
	for _, c := range n.cards {
		if n.count.walks > 0 { // a walk has failed, and left the card in any state
			errs = append(errs, c.setNumVFs(0))
		}
		errs = append(errs, c.complete(ctx))
		c.gone, c.down = false, false
		for _, vf := range c.vfs {
			vf.lost, vf.pod = false, nil
			errs = append(errs, n.operate(ctx, vf))
		}
	}
	var err error
	n.free, err = n.hostVFs(ctx)
	errs = append(errs, err, n.startAgent(ctx))
	n.files, n.sweep = stateFiles(), false
	err = errors.Join(errs...)
	n.atStart = err == nil
	return err
}

// close restores the VFs' names that other tests in the same guest expect.
func (n *soakNode) close(ctx context.Context) error {
	err := n.clean(ctx)
	for i, c := range n.cards {
		for j, vf := range c.vfs {
			err = errors.Join(err, ip(ctx, "link set %s name %s", vf.host, n.cards[i].VFs[j].Name))
		}
	}
	err = errors.Join(err, n.agent.end(ctx, unix.SIGTERM))
	n.monitor.stop()
	return err
}

// operate does what a node's operator does for a VF that no pod uses: driver, settings, name.
func (n *soakNode) operate(ctx context.Context, vf *soakVF) error {
	c := n.cards[vf.card]
	inHost := func() (bool, error) { _, err := topology.Netdev(vf.pci); return err == nil, nil }
	if err := n.await(ctx, "VF "+vf.pci+" in the host", inHost); err != nil {
		return err
	}
	if err := c.set(ctx, vf.number, vf.settings); err != nil {
		return err
	}
	name, err := topology.Netdev(vf.pci)
	if err != nil {
		return err
	}
	vf.dirty, vf.reset = false, false
	if name == vf.host {
		return nil
	}
	return ip(ctx, "link set %s name %s", name, vf.host)
}

// await waits for a condition. It is checked after every kernel change and agent log line, and periodically, for what
// neither of the two reports.
func (n *soakNode) await(ctx context.Context, what string, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, soakTimeout, fmt.Errorf("not within %v", soakTimeout))
	defer cancel()
	for {
		lines, events := n.log.len(), n.monitor.events.len()
		if met, err := condition(); met || err != nil {
			return err
		}
		if err := n.change(ctx, lines, events, time.Second); err != nil {
			return errWaited(what, err)
		}
	}
}

// change returns after an event or a log line that is not counted yet, or after a time without either.
func (n *soakNode) change(ctx context.Context, lines, events int, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-n.log.next(lines):
	case <-n.monitor.events.next(events):
	case <-timer.C:
	case <-n.monitor.done:
		return errors.New("ip monitor has ended")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

func (n *soakNode) startAgent(ctx context.Context) error {
	if n.agent != nil && n.agent.runs() {
		return nil
	}
	place := n.log.len()
	a, err := startAgent(filepath.Join(n.bin, "agent"), &n.log, soakAgent...)
	if err != nil {
		return err
	}
	n.agent = a
	if _, _, err := n.log.await(ctx, place, func(l Line) bool { return l.Msg == "agent started" }); err != nil {
		return errWaited("the agent's start", err)
	}
	for _, p := range n.alive() {
		if err := n.setUp(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (n *soakNode) stopAgent(ctx context.Context, s unix.Signal) error {
	if !n.agent.runs() {
		return nil
	}
	return n.agent.end(ctx, s)
}

// stateFiles are the files of the state directory.
func stateFiles() (files []string) {
	_ = filepath.WalkDir(store.DefaultDir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files = append(files, path)
		}
		return nil // the file was removed while the directory was read
	})
	return files
}

// alive are the pods that must be as they were made.
func (n *soakNode) alive() (pods []*soakPod) {
	for _, p := range n.pods {
		if p != nil && p.state == podAlive {
			pods = append(pods, p)
		}
	}
	return pods
}
