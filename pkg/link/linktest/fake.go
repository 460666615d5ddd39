package linktest

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// Host is the path of the host's netns in the fake.
const Host = ""

// boot is the fake's boot ID.
const boot = "fake-boot"

// Fake is a kernel in memory that behaves like Linux 6.12 in everything that pod bonds depend on. It has the methods of
// reconcile.Kernel. Events from outside are methods named after the event (UnbindVF, DeletePod, …). Everything happens
// immediately: carriers come and monitors see them at once. All methods are safe for concurrent use.
type Fake struct {
	mu      sync.Mutex
	spaces  map[string]*space
	pfs     []*pf
	files   ownership
	macs    uint64 // "random" MACs assigned so far
	inodes  uint64
	changes []string
	// otherHosts have these addresses.
	otherHosts map[netip.Addr]bool

	omitted []bond.Option
	release string
	// monitorsPaused: bonds' monitors do not run.
	monitorsPaused bool

	observeErrs []error
	hidden      int // observations that leave the network unread
	readLater   bool
	postponed   map[bond.Key]bool // its network was left unread, because links had to be repaired first
	applyErrs   map[int]error     // by the number of the Apply, counted from 1
	applies     int
	created     int // what plan.NewBond refers to in the current action
	failIf      func(plan.Action) error
	before      func(plan.Action)
	downs       uint64 // of bonds
}

// space is a network namespace.
type space struct {
	fake       *Fake
	path       string
	dev, inode uint64
	links      map[int]*netdev
	lastIndex  int
	serials    uint64
}

// New makes a host without PFs, and without pods.
func New() *Fake {
	f := &Fake{
		postponed: map[bond.Key]bool{},
		spaces:    map[string]*space{},
		files: ownership{
			claims: map[bond.PCIAddress]string{}, caches: map[string]bond.PCIAddress{}, broken: map[bond.PCIAddress]bool{},
		},
		otherHosts: map[netip.Addr]bool{},
		applyErrs:  map[int]error{},
		inodes:     4026531840,
		release:    Newest,
	}
	f.addSpace(Host)
	return f
}

// AddPod makes a network namespace at path and returns its identity. An existing path then leads to the new one; the
// old one is deleted.
func (f *Fake) AddPod(path string) bond.Sandbox {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old := f.spaces[path]; old != nil && path != Host {
		f.deleteSpace(old)
	}
	s := f.addSpace(path)
	return bond.Sandbox{Path: path, Dev: s.dev, Inode: s.inode, Boot: boot}
}

// AddVirtual makes a virtual link (a veth whose peer is up) in the pod at path, or in the host, and returns the
// kernel's report of it. It is down.
func (f *Fake) AddVirtual(path, name string) (bond.Link, error) {
	return f.addVirtual(path, name, "veth")
}

// AddImpostor makes a dummy link, down, as a pod does that imitates another link.
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

// Link returns the kernel's report of the link with this path and name.
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

// Occupy gives an address to another host on the network.
func (f *Fake) Occupy(a netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.otherHosts[a] = true
}

// Serial returns a link's serial, which is the same in every netns; 0 if there is no such link.
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

// AddTwin makes a link of the same kind as AddVirtual, with a chosen ifindex.
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

// Changes counts the actions that changed something. Actions that found everything as requested do not count, nor do
// external events.
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

// Applies counts all calls of Apply, successful or not.
func (f *Fake) Applies() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applies
}

func (f *Fake) addSpace(path string) *space {
	f.inodes++
	s := &space{fake: f, path: path, dev: 4, inode: f.inodes, links: map[int]*netdev{}, lastIndex: 1}
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

// PauseMonitors stops the monitors of all bonds: members that get or lose their carrier stay as they were until
// ResumeMonitors. A real kernel takes up to miimon milliseconds, and then updelay or downdelay.
func (f *Fake) PauseMonitors() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.monitorsPaused = true
}

// ResumeMonitors runs the monitors of all bonds, once now and then after each change.
func (f *Fake) ResumeMonitors() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.monitorsPaused = false
	f.runMonitors()
}

// runMonitors runs every bond's monitor once; it is called after each external event and each change.
func (f *Fake) runMonitors() {
	for _, s := range f.spaces {
		for _, d := range s.links {
			if d.bond != nil {
				d.monitor()
			}
		}
	}
}

// Hold does nothing: the fake kernel opens nothing.
func (f *Fake) Hold(bond.Sandbox) (release func()) { return func() {} }
