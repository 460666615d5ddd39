package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/bench/message"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// repairTimeout bounds one repair.
const repairTimeout = time.Minute

// repair measures the time from when a VF's netdev appears in the host until the VF is enslaved and up. VFs of two pods
// are lost in turn: the agent repairs the bond of the first one, and a loop of this process, which has everything at
// hand, that of the second one.
func repair(ctx context.Context, o *options) (*report, error) {
	guest, err := topology.Load()
	if err != nil {
		return nil, err
	}
	maintained, err := newBondedPod(ctx, o, guest, "maintained", 0, true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = maintained.end() }()
	bare, err := newBondedPod(ctx, o, guest, "bare", 1, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = bare.end() }()
	a, err := startAgent(ctx, o)
	if err != nil {
		return nil, err
	}
	defer a.stop()
	var agent, floor samples
	for n := range o.losses + 1 { // the first one only fills caches
		first, err := lose(ctx, maintained, nil)
		if err != nil {
			a.stop()
			return nil, fmt.Errorf("loss %d, agent: %w\n%s", n, err, a.log.String())
		}
		second, err := lose(ctx, bare, bare.put)
		if err != nil {
			return nil, fmt.Errorf("loss %d, loop: %w", n, err)
		}
		if n > 0 {
			agent, floor = append(agent, first), append(floor, second)
		}
	}
	return repairReport(guest, a, agent, floor), nil
}

func repairReport(guest *topology.Topology, a *agent, agent, floor samples) *report {
	r := &report{
		title: "Repair: from the VF's netdev in the host until it is enslaved and up",
		head:  []string{"", "p50, ms", "p90, ms", "p99, ms"},
		plot:  &plot{title: "From the VF's netdev in the host until it is enslaved and up; medians in red", rows: []plotRow{{"agent", agent}, {"loop that knows all", floor}}},
	}
	row := func(name string, s samples) {
		r.add(name, millis(s.quantile(0.5)), millis(s.quantile(0.9)), millis(s.quantile(0.99)))
	}
	row("agent", agent)
	row("loop that knows all", floor)
	r.add("ratio", ratio(agent.quantile(0.5), floor.quantile(0.5)), ratio(agent.quantile(0.9), floor.quantile(0.9)), ratio(agent.quantile(0.99), floor.quantile(0.99)))
	r.remarks = append(r.remarks, fmt.Sprintf("%d losses of each, alternating; Linux %s under %s, %s. Processor time of the agent: %s per loss.",
		len(agent), guest.Kernel, guest.Accel, processors(), (a.processorTime()/time.Duration(len(agent)+1)).Round(100*time.Microsecond)))
	r.remarks = append(r.remarks, a.phases())
	return r
}

// bondedPod is a pod with a bond, of which one VF is lost again and again.
type bondedPod struct {
	*pod
	lost  bond.PCIAddress
	host  *nl.NetlinkSocket
	in    *nl.NetlinkSocket // in the pod
	bond  int               // ifindex
	links chan netlink.LinkUpdate
	seen  chan netlink.LinkUpdate // in the host
	done  chan struct{}
	// mac, if not nil, is the VF's that put restores.
	mac net.HardwareAddr
	// release calls the plugin's DEL, or removes the bond of floor.
	release func() error
}

func newBondedPod(ctx context.Context, o *options, guest *topology.Topology, name string, number int, byPlugin bool) (*bondedPod, error) {
	p, err := newPod(name)
	if err != nil {
		return nil, err
	}
	b := &bondedPod{pod: p, done: make(chan struct{}), links: make(chan netlink.LinkUpdate, 1024), seen: make(chan netlink.LinkUpdate, 1024)}
	b.lost = bond.PCIAddress(guest.Cards[0].VFs[number].PCI)
	c := &contender{name: name, program: filepath.Join(o.bin, "floor"), arguments: p.members, isPlugin: true}
	if byPlugin {
		c = &contender{name: name, program: filepath.Join(o.bin, "bond"), isPlugin: true}
	}
	b.release = func() error {
		_, failed := c.call(context.WithoutCancel(ctx), o, p, "DEL", fmt.Sprintf(config, ""), 0)
		return failed
	}
	err = p.takeVFs(guest, number) //nolint:contextcheck // test/kit waits by itself
	if err == nil {
		_, err = c.call(ctx, o, p, "ADD", fmt.Sprintf(config, ""), 0)
	}
	if err == nil {
		err = b.open()
	}
	var found netlink.Link
	if err == nil {
		found, err = p.links.LinkByName(bondName)
	}
	if err == nil {
		b.bond = found.Attrs().Index
		err = b.subscribe()
	}
	if err != nil {
		return nil, errors.Join(err, p.end())
	}
	return b, nil
}

// open opens the sockets for put.
func (b *bondedPod) open() (err error) {
	if b.host, err = nl.Subscribe(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	return b.ns.Do(func() (err error) {
		b.in, err = nl.Subscribe(unix.NETLINK_ROUTE)
		return err
	})
}

// subscribe delivers the link events of pod and host.
func (b *bondedPod) subscribe() error {
	const buffer = 1 << 20
	options := netlink.LinkSubscribeOptions{ReceiveBufferSize: buffer, ReceiveBufferForceSize: true}
	if err := netlink.LinkSubscribeWithOptions(b.seen, b.done, options); err != nil {
		return err
	}
	return b.ns.Do(func() error { return netlink.LinkSubscribeWithOptions(b.links, b.done, options) })
}

func (b *bondedPod) end() error {
	close(b.done)
	b.host.Close()
	b.in.Close()
	return errors.Join(b.release(), b.pod.end())
}

// lose unbinds the VF from its driver and binds it again. It returns how long it took from the event of its netdev in
// the host to that of its being enslaved and up in the pod. put, if not nil, puts it there.
func lose(ctx context.Context, b *bondedPod, put func(index int) error) (time.Duration, error) {
	l := kit.Links{}
	if err := l.UnbindVF(b.lost); err != nil {
		return 0, err
	}
	if err := b.awaitLoss(ctx); err != nil {
		return 0, err
	}
	bound := make(chan error, 1)
	go func() { bound <- l.BindVF(b.lost) }()
	isThere := func(u netlink.LinkUpdate) bool {
		return u.Header.Type == unix.RTM_NEWLINK && u.Attrs().ParentDev == string(b.lost)
	}
	u, err := await(ctx, b.seen, isThere)
	if err != nil {
		return 0, fmt.Errorf("netdev of %s in the host: %w", b.lost, err)
	}
	began := time.Now()
	if put != nil {
		if err := put(u.Attrs().Index); err != nil {
			return 0, err
		}
	}
	if _, err := await(ctx, b.links, isBack(b.bond)); err != nil {
		return 0, fmt.Errorf("net1 in the bond: %w", err)
	}
	return time.Since(began), <-bound
}

// awaitLoss waits until the VF has left the pod, and drops what was seen in the host until then.
func (b *bondedPod) awaitLoss(ctx context.Context) error {
	_, err := await(ctx, b.links, func(u netlink.LinkUpdate) bool {
		return u.Header.Type == unix.RTM_DELLINK && u.Attrs().Name == "net1"
	})
	if err != nil {
		return fmt.Errorf("net1 leaves %s: %w", b.name, err)
	}
	drain(b.seen)
	return nil
}

// isBack matches events that show net1 up and enslaved to a bond, by its ifindex.
func isBack(bond int) func(netlink.LinkUpdate) bool {
	return func(u netlink.LinkUpdate) bool {
		a := u.Attrs()
		return u.Header.Type == unix.RTM_NEWLINK && a.Name == "net1" && a.MasterIndex == bond && a.Flags&net.FlagUp != 0
	}
}

// put moves the VF into the pod and enslaves it.
func (b *bondedPod) put(index int) error {
	move := message.Move(index, "net1", b.ns.Fd())
	if b.mac != nil {
		move.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, b.mac))
	}
	if err := message.Send(b.host, move); err != nil {
		return fmt.Errorf("move: %w", err)
	}
	if err := message.Send(b.in, message.Enslave("net1", b.bond)); err != nil {
		return fmt.Errorf("enslave: %w", err)
	}
	return nil
}

func await(ctx context.Context, events <-chan netlink.LinkUpdate, match func(netlink.LinkUpdate) bool) (netlink.LinkUpdate, error) {
	limit := time.NewTimer(repairTimeout)
	defer limit.Stop()
	for {
		select {
		case u, open := <-events:
			if !open {
				return u, errors.New("events have ended")
			}
			if match(u) {
				return u, nil
			}
		case <-limit.C:
			return netlink.LinkUpdate{}, fmt.Errorf("not within %s", repairTimeout)
		case <-ctx.Done():
			return netlink.LinkUpdate{}, ctx.Err()
		}
	}
}

func drain(events <-chan netlink.LinkUpdate) {
	for {
		select {
		case <-events:
		default:
			return
		}
	}
}
