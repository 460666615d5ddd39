package linktest

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// Host is the path under which the fake knows the host's netns.
const Host = ""

// boot is the fake's own.
const boot = "fake-boot"

// Fake is a kernel in memory with the behaviour of Linux 6.12 where pod bonds depend on
// it. It has the methods of reconcile.Kernel. What happens to it from outside is done
// by methods named after the event (UnbindVF, DeletePod, …). Nothing in it takes
// time: carriers come and monitors see them at once. All methods are safe for
// concurrent use.
type Fake struct {
	mu      sync.Mutex
	spaces  map[string]*space
	pfs     []*pf
	files   ownership
	macs    uint64 // "random" MACs given so far
	inodes  uint64
	changes []string
	// otherHosts have these addresses.
	otherHosts map[netip.Addr]bool

	omitted []bond.Option
	// monitorsPaused: the time until a bond's monitor runs again has not passed.
	monitorsPaused bool

	observeErrs []error
	hidden      int // observations that leave the network unread
	readLater   bool
	applyErrs   map[int]error // by the number of the Apply, counted from 1
	applies     int
	failIf      func(plan.Action) error
	before      func(plan.Action)
}

// space is a network namespace.
type space struct {
	path       string
	dev, inode uint64
	links      map[int]*netdev
	lastIndex  int
	serials    uint64
}

// New is a host without any PF, and no pods.
func New() *Fake {
	f := &Fake{
		spaces: map[string]*space{},
		files: ownership{
			claims: map[bond.PCIAddress]string{}, caches: map[string]bond.PCIAddress{}, broken: map[bond.PCIAddress]bool{},
		},
		otherHosts: map[netip.Addr]bool{},
		applyErrs:  map[int]error{},
		inodes:     4026531840,
	}
	f.addSpace(Host)
	return f
}

// AddPod makes a network namespace on path and says how it is identified. A path that
// leads to one already leads to the new one from now on; the old one is deleted.
func (f *Fake) AddPod(path string) bond.Sandbox {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old := f.spaces[path]; old != nil && path != Host {
		f.deleteSpace(old)
	}
	s := f.addSpace(path)
	return bond.Sandbox{Path: path, Dev: s.dev, Inode: s.inode, Boot: boot}
}

// AddVirtual makes a virtual link (a veth whose peer is up) in the pod on path, or in
// the host, and returns what the kernel says of it. It is down.
func (f *Fake) AddVirtual(path, name string) (bond.Link, error) {
	return f.addVirtual(path, name, "veth")
}

// AddImpostor makes a dummy link, down, as a pod does that wants to pass it off for another.
func (f *Fake) AddImpostor(path, name string) (bond.Link, error) {
	return f.addVirtual(path, name, "dummy")
}

func (f *Fake) addVirtual(path, name, kind string) (bond.Link, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.spaces[path]
	if s == nil {
		return bond.Link{}, fmt.Errorf("no netns at %q: %w", path, bond.ErrGone)
	}
	if s.byName(name) != nil {
		return bond.Link{}, fmt.Errorf("a link %s is there already", name)
	}
	d := s.add(&netdev{name: name, kind: kind, mac: f.randomMAC(), mtu: 1500, plugged: true})
	return d.describe(), nil
}

// Link is what the kernel says of a link that is found by path and name.
func (f *Fake) Link(path, name string) (bond.Link, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.spaces[path]; s != nil {
		if d := s.byName(name); d != nil {
			return d.describe(), true
		}
	}
	return bond.Link{}, false
}

// Occupy lets another host on the network have an address.
func (f *Fake) Occupy(a netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.otherHosts[a] = true
}

// Serial is the number by which a link is known in every netns; 0 if there is no such link.
func (f *Fake) Serial(path, name string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.spaces[path]; s != nil {
		if d := s.byName(name); d != nil {
			return d.serial
		}
	}
	return 0
}

// AddTwin makes a link of the kind that AddVirtual makes, under an ifindex of the pod's choice.
func (f *Fake) AddTwin(path, name string, index int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.spaces[path]
	if s == nil || s.byName(name) != nil || s.links[index] != nil {
		return fmt.Errorf("link %s with ifindex %d in netns %q: %w", name, index, path, bond.ErrBusy)
	}
	d := s.add(&netdev{name: name, kind: "veth", mac: f.randomMAC(), mtu: 1500, plugged: true})
	delete(s.links, d.index)
	d.index = index
	s.links[index] = d
	return nil
}

// Changes counts the actions that changed something. An action that found everything
// as it asks is not counted, and neither is what came from outside.
func (f *Fake) Changes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.changes)
}

// ChangeLog lists the actions that Changes counts, in order.
func (f *Fake) ChangeLog() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.changes...)
}

// Applies counts all calls of Apply, whatever came of them.
func (f *Fake) Applies() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applies
}

func (f *Fake) addSpace(path string) *space {
	f.inodes++
	s := &space{path: path, dev: 4, inode: f.inodes, links: map[int]*netdev{}, lastIndex: 1}
	f.spaces[path] = s
	return s
}

// randomMAC is unicast, locally administered, and the same in each run.
func (f *Fake) randomMAC() bond.MAC {
	f.macs++
	h := f.macs * 0x9e3779b97f4a7c15 // spreads the counter, so that MACs look as random as the kernel's
	return bond.MAC(fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x",
		byte(h>>56)&^1|2, byte(h>>48), byte(h>>40), byte(h>>32), byte(h>>24), byte(f.macs)))
}

// PauseMonitors stops the monitors of all bonds: members that get or lose their carrier are as they were until ResumeMonitors.
// With the kernel this is so for up to miimon milliseconds, and then for updelay or downdelay.
func (f *Fake) PauseMonitors() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.monitorsPaused = true
}

// ResumeMonitors runs the monitors of all bonds, once now and from now on after each change.
func (f *Fake) ResumeMonitors() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.monitorsPaused = false
	f.runMonitors()
}

// runMonitors runs every bond's monitor once; each external event and each change ends with it.
func (f *Fake) runMonitors() {
	for _, s := range f.spaces {
		for _, d := range s.links {
			if d.bond != nil {
				d.monitor()
			}
		}
	}
}
